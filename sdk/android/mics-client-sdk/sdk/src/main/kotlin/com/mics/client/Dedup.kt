package com.mics.client

import com.mics.contracts.message.v1.MessageRequest
import okio.ByteString
import okio.ByteString.Companion.toByteString

/** Remembers the last [window] deliveries, so that one repeated by the gateway reaches the application once. */
internal class Dedup(private val window: Int) {
    private val seen = LinkedHashSet<ByteString>()

    /**
     * True when this delivery was seen before. Sender, device and msg_id name a message; target and body are part of
     * the fingerprint because some clients restart their ids from "1".
     */
    fun isRepeated(message: MessageRequest): Boolean {
        if (window == 0 || message.msgId.isEmpty()) return false
        if (!seen.add(fingerprint(message))) return true
        if (seen.size > window) seen.iterator().run { next(); remove() }
        return false
    }

    private fun fingerprint(message: MessageRequest): ByteString = MessageRequest.newBuilder()
        .setUserId(message.userId)
        .setDeviceId(message.deviceId)
        .setMsgId(message.msgId)
        .setToUserId(message.toUserId)
        .setGroupId(message.groupId)
        .setMsgBody(message.msgBody)
        .build().toByteArray().toByteString().sha256()
}
