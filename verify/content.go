package verify

import "context"

// content compares multisets.
func (r *run) content(ctx context.Context) error { return r.once(ctx) }
