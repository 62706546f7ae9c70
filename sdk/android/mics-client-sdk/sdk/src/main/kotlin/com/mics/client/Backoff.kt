package com.mics.client

import java.time.Duration
import kotlin.random.Random

/** How long to wait before the next attempt to connect. Pure arithmetic. */
internal class Backoff(private val options: MicsClientOptions, private val random: Random = Random.Default) {
    private var attempt = 0
    private var limited = 0

    /**
     * Full jitter (anything from nothing to the doubling ceiling) spreads the clients of a node that went away; after a
     * refusal for its limit at least half of the long pause is kept.
     */
    fun nextMillis(action: CloseAction): Long {
        if (action == CloseAction.RETRY_LATER) {
            val base = options.limitedDelay.toMillis()
            val ceiling = minOf(base shl minOf(limited++, 4), base * 12)
            return ceiling / 2 + (random.nextDouble() * (ceiling / 2)).toLong()
        }
        val ceiling = minOf(doubled(options.reconnectMinDelay, attempt++), options.reconnectMaxDelay.toMillis())
        return (random.nextDouble() * ceiling).toLong()
    }

    /** Forgets earlier failures; called once a connection has proved stable. */
    fun reset() {
        attempt = 0
        limited = 0
    }

    private fun doubled(delay: Duration, times: Int): Long = delay.toMillis() shl minOf(times, 16)
}
