package micshooksdk

import (
	"errors"
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// ErrInvalidProtobuf is returned for bytes that are not the message asked for.
var ErrInvalidProtobuf = errors.New("invalid protobuf")

// field is one field as it is on the wire.
type field struct {
	num    protowire.Number
	typ    protowire.Type
	varint uint64
	bytes  []byte
	raw    []byte // tag and value
}

// eachField visits the fields of a message in their order.
func eachField(b []byte, visit func(field) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return ErrInvalidProtobuf
		}
		f := field{num: num, typ: typ}
		m := -1
		switch typ {
		case protowire.VarintType:
			f.varint, m = protowire.ConsumeVarint(b[n:])
		case protowire.BytesType:
			f.bytes, m = protowire.ConsumeBytes(b[n:])
		case protowire.Fixed32Type:
			_, m = protowire.ConsumeFixed32(b[n:])
		case protowire.Fixed64Type:
			_, m = protowire.ConsumeFixed64(b[n:])
		}
		// Groups are no part of proto3.
		if m < 0 {
			return ErrInvalidProtobuf
		}
		f.raw = b[:n+m]
		if err := visit(f); err != nil {
			return err
		}
		b = b[n+m:]
	}
	return nil
}

// The setters below pass over a field of another wire type, as every protobuf parser does.

func (f field) toString(to *string) error {
	if f.typ != protowire.BytesType {
		return nil
	}
	if !utf8.Valid(f.bytes) {
		return ErrInvalidProtobuf
	}
	*to = string(f.bytes)
	return nil
}

func (f field) addString(to *[]string) error {
	if f.typ != protowire.BytesType {
		return nil
	}
	var s string
	if err := f.toString(&s); err != nil {
		return err
	}
	*to = append(*to, s)
	return nil
}

func (f field) toBytes(to *[]byte) {
	if f.typ == protowire.BytesType {
		*to = append([]byte(nil), f.bytes...)
	}
}

func (f field) toInt64(to *int64) {
	if f.typ == protowire.VarintType {
		*to = int64(f.varint)
	}
}

func (f field) toInt32(to *int32) {
	if f.typ == protowire.VarintType {
		*to = int32(uint32(f.varint & math.MaxUint32))
	}
}

func (f field) toBool(to *bool) {
	if f.typ == protowire.VarintType {
		*to = f.varint != 0
	}
}

func (f field) toOptionalInt32(to **int32) {
	if f.typ == protowire.VarintType {
		*to = new(int32)
		f.toInt32(*to)
	}
}

func (f field) toOptionalBool(to **bool) {
	if f.typ == protowire.VarintType {
		*to = new(bool)
		f.toBool(*to)
	}
}

// The writers below leave out what has its default value, as canonical proto3 demands.

func appendString(b []byte, num protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), s)
}

func appendBytes(b []byte, num protowire.Number, v []byte) []byte {
	if len(v) == 0 {
		return b
	}
	return appendMessage(b, num, v)
}

// appendMessage writes an embedded message, also an empty one.
func appendMessage(b []byte, num protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), v)
}

func appendInt64(b []byte, num protowire.Number, v int64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), uint64(v))
}

func appendInt32(b []byte, num protowire.Number, v int32) []byte {
	return appendInt64(b, num, int64(v))
}

func appendBool(b []byte, num protowire.Number, v bool) []byte {
	if !v {
		return b
	}
	return appendInt64(b, num, 1)
}

func appendOptionalInt32(b []byte, num protowire.Number, v *int32) []byte {
	if v == nil {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), uint64(int64(*v)))
}

func appendOptionalBool(b []byte, num protowire.Number, v *bool) []byte {
	if v == nil {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), protowire.EncodeBool(*v))
}

// withoutField gives a message without the fields of this number, and leaves the rest as it is.
func withoutField(b []byte, num protowire.Number) ([]byte, error) {
	out := make([]byte, 0, len(b))
	err := eachField(b, func(f field) error {
		if f.num != num {
			out = append(out, f.raw...)
		}
		return nil
	})
	return out, err
}

// withoutMetaSign gives a hook request without the field sign (4) of its meta (1). Fields that we don't know were signed,
// too, so nothing else is touched. A request with two metas is refused: parsers would merge them.
func withoutMetaSign(b []byte) ([]byte, error) {
	out := make([]byte, 0, len(b))
	metas := 0
	err := eachField(b, func(f field) error {
		if f.num != 1 {
			out = append(out, f.raw...)
			return nil
		}
		metas++
		if f.typ != protowire.BytesType || metas > 1 {
			return ErrInvalidProtobuf
		}
		meta, err := withoutField(f.bytes, 4)
		out = appendMessage(out, 1, meta)
		return err
	})
	return out, err
}
