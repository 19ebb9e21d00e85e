"""The systems HARMONIC is compared with: one file each, under the same contract as `harmonic.method.Harmonic`."""
