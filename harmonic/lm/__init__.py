"""The language model: loading, fine-tuning, sampling."""
