package verify

// WithoutBitmap makes a run tell first occurrences from repeats by watermarks alone.
func (v *Verifier) WithoutBitmap() { v.noBitmap = true }

// InPieces makes a run take so many results of the ledger at a time.
func (v *Verifier) InPieces(n int) { v.piece = n }
