package verify

// WithoutBitmap makes a run tell first occurrences from repeats by watermarks alone.
func (v *Verifier) WithoutBitmap() { v.noBitmap = true }
