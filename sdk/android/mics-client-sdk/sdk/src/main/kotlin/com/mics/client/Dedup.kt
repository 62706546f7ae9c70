package com.mics.client

import com.mics.contracts.message.v1.MessageRequest
import okio.ByteString
import okio.ByteString.Companion.toByteString

/** Remembers the last [window] deliveries, so that one repeated by the gateway reaches the application once. */
internal class Dedup(private val window: Int) {
    private val seen = LinkedHashSet<ByteString>()

    /** True when this delivery was handed over before. */
    fun knows(name: ByteString?): Boolean = name in seen

    /** Tells that it was handed over. */
    fun remember(name: ByteString?) {
        if (name != null && seen.add(name) && seen.size > window) seen.iterator().run { next(); remove() }
    }

    /**
     * Names a delivery; null when it cannot be recognised (blank id, or switched off). Sender, device and msg_id name a
     * message; target and body belong to it because some clients restart their ids from "1".
     */
    fun nameOf(message: MessageRequest): ByteString? =
        if (window == 0 || message.msgId.isEmpty()) null else fingerprint(message)

    private fun fingerprint(message: MessageRequest): ByteString = MessageRequest.newBuilder()
        .setUserId(message.userId)
        .setDeviceId(message.deviceId)
        .setMsgId(message.msgId)
        .setToUserId(message.toUserId)
        .setGroupId(message.groupId)
        .setMsgBody(message.msgBody)
        .build().toByteArray().toByteString().sha256()
}
