package micshooksdk

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
)

// ComputeHookSignBase64 gives the signature of a hook request: HMAC-SHA256, in standard base64, over payload (the request
// with meta.sign cleared), the request id, and the timestamp as 8 bytes little endian.
func ComputeHookSignBase64(tenantSecret string, payload []byte, requestID string, timestampMs int64) string {
	suffix := binary.LittleEndian.AppendUint64([]byte(requestID), uint64(timestampMs))
	return hmacBase64(tenantSecret, payload, suffix)
}

// VerifyHookSignBase64 compares in constant time; a signature in another spelling of base64 is wrong.
func VerifyHookSignBase64(tenantSecret string, payload []byte, requestID string, timestampMs int64, sign string) bool {
	return same(ComputeHookSignBase64(tenantSecret, payload, requestID, timestampMs), sign)
}

// VerifyHookBody tells whether a request body, as received, carries its own valid signature; meta is the body's. The signature
// is cut out of the received bytes, so fields that this SDK doesn't know don't matter.
func VerifyHookBody(tenantSecret string, meta HookMeta, body []byte) bool {
	payload, err := withoutMetaSign(body)
	return err == nil && VerifyHookSignBase64(tenantSecret, payload, meta.RequestID, meta.TimestampMs, meta.Sign)
}

// ComputeMqEventSignBase64 gives the signature of an event; payload is the event without its field sign.
func ComputeMqEventSignBase64(tenantSecret string, payload []byte) string {
	return hmacBase64(tenantSecret, payload)
}

// VerifyMqEventSignBase64 compares in constant time.
func VerifyMqEventSignBase64(tenantSecret string, payload []byte, sign string) bool {
	return same(ComputeMqEventSignBase64(tenantSecret, payload), sign)
}

func hmacBase64(secret string, parts ...[]byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	for _, part := range parts {
		mac.Write(part)
	}
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

func same(expected, given string) bool {
	return subtle.ConstantTimeCompare([]byte(expected), []byte(given)) == 1
}
