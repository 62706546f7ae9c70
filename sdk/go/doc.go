// Package micshooksdk is for the back end of a tenant of a MICS gateway: the HTTP hooks that the gateway calls
// ([NewHookServer]) and the events that it writes to Kafka ([EventProcessor], and the module micshooksdk/kafka around it).
package micshooksdk
