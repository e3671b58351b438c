package kpl

// The wire types of Protocol Buffers.
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireStart   = 3 // of a group
	wireEnd     = 4
	wireFixed32 = 5
)

// maxDepth is how deep protobuf-java lets messages and groups nest.
const maxDepth = 100

// A reader walks over a message as protobuf-java's CodedInputStream does over an array.
// It is laxer than package protowire: lengths and tags may be varints of up to ten bytes,
// of which only the low 32 bits count, and nothing but field number 0 is refused. Every
// method reports false where that library throws InvalidProtocolBufferException.
type reader struct{ b []byte }

// varint cuts off what is above 64 bits. Bit 63 can differ from protobuf-java's, whose two
// code paths differ from each other there; nothing that is read here has a use for it.
func (r *reader) varint() (uint64, bool) {
	if len(r.b) > 0 && r.b[0] < 0x80 {
		v := r.b[0]
		r.b = r.b[1:]
		return uint64(v), true
	}
	var v uint64
	for i := 0; i < 10 && i < len(r.b); i++ {
		c := r.b[i]
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			r.b = r.b[i+1:]
			return v, true
		}
	}
	return 0, false
}

// tag is the field number, shifted by three, and the wire type.
func (r *reader) tag() (uint32, bool) {
	v, ok := r.varint()
	t := uint32(v)
	return t, ok && t>>3 != 0
}

// bytes reads a length and as many bytes. They belong to the message, but appending to
// them does not write into it. They are not nil.
func (r *reader) bytes() ([]byte, bool) {
	v, ok := r.varint()
	n := int32(uint32(v))
	if !ok || n < 0 || int(n) > len(r.b) {
		return nil, false
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b, true
}

// skip passes over a field that the message does not know, or knows by another wire type,
// which to protobuf-java is the same. depth counts the messages and groups around it.
func (r *reader) skip(tag uint32, depth int) bool {
	switch tag & 7 {
	case wireVarint:
		_, ok := r.varint()
		return ok
	case wireFixed64:
		return r.drop(8)
	case wireFixed32:
		return r.drop(4)
	case wireBytes:
		_, ok := r.bytes()
		return ok
	case wireStart:
		return depth < maxDepth && r.group(tag>>3, depth+1)
	}
	return false // the end of a group that did not begin here, or no wire type at all
}

func (r *reader) group(number uint32, depth int) bool {
	for len(r.b) > 0 {
		tag, ok := r.tag()
		if !ok {
			return false
		}
		if tag&7 == wireEnd {
			return tag>>3 == number
		}
		if !r.skip(tag, depth) {
			return false
		}
	}
	return false
}

func (r *reader) drop(n int) bool {
	if n > len(r.b) {
		return false
	}
	r.b = r.b[n:]
	return true
}
