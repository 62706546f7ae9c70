package com.mics.client

import java.security.SecureRandom
import java.util.UUID

/** Message ids: UUIDv7 (RFC 9562), unique over devices and restarts, sortable by time. */
internal object MessageIds {
    private val random = SecureRandom()

    fun next(nowMs: Long = System.currentTimeMillis()): String {
        val high = (nowMs shl 16) or 0x7000L or (random.nextLong() and 0x0FFFL)
        val low = (random.nextLong() and 0x3FFF_FFFF_FFFF_FFFFL) or Long.MIN_VALUE
        return UUID(high, low).toString()
    }
}
