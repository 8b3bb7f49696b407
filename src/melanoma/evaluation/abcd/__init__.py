"""What the ABCD rule of dermoscopy looks at, as numbers: asymmetry, border, colour, structure. No training."""
