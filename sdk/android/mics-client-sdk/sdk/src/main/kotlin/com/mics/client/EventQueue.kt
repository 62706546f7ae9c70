package com.mics.client

import java.util.concurrent.atomic.AtomicLong
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.flow.MutableSharedFlow
import kotlinx.coroutines.flow.SharedFlow
import kotlinx.coroutines.flow.asSharedFlow
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.launch

/**
 * A bounded queue between the connection, which never waits, and the collectors of one flow, who may be slow.
 * The flow itself has no buffer: what a collector has not taken stays here when it leaves.
 *
 * @param keep true: events wait for the first collector; false: without a collector they are not kept.
 */
internal class EventQueue<T : Any>(scope: CoroutineScope, capacity: Int, private val keep: Boolean) {
    private val queue = Channel<T>(capacity)
    private val out = MutableSharedFlow<T>()
    private val dropped = AtomicLong()

    val flow: SharedFlow<T> = out.asSharedFlow()

    init {
        scope.launch {
            for (event in queue) {
                if (keep) out.subscriptionCount.first { it > 0 }
                out.emit(event)
            }
        }
    }

    /** Takes an event in; false when there is no room and it is lost. Called by one thread at a time. */
    fun push(event: T): Boolean {
        if (!keep && out.subscriptionCount.value == 0) return true
        return queue.trySend(event).isSuccess
    }

    /** As [push], for events that carry the number of those lost just before them. */
    fun pushCounting(make: (droppedBefore: Long) -> T): Boolean {
        val before = dropped.get()
        if (push(make(before))) {
            dropped.addAndGet(-before)
            return true
        }
        dropped.incrementAndGet()
        return false
    }
}
