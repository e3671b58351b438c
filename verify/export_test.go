package verify

// WithoutBitmap makes a run tell first occurrences from repeats by watermarks alone.
func (v *Verifier) WithoutBitmap() { v.noBitmap = true }

// InPieces makes a run take so many results of the ledger at a time.
func (v *Verifier) InPieces(n int) { v.piece = n }

// HoldAtMost bounds the differences of one look that are held one by one.
func (v *Verifier) HoldAtMost(n int) { v.most = n }
