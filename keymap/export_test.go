package keymap

// RangeOf is for tests of the hashes that no known key has.
var RangeOf = rangeOf
