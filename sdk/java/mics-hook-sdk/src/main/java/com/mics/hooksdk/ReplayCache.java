package com.mics.hooksdk;

import java.util.ArrayDeque;
import java.util.HashSet;
import java.util.Set;

/** Request ids seen within a time, at most so many; the oldest are forgotten first. */
final class ReplayCache {
    private record Entry(String id, long untilMs) {}

    private final int capacity;
    private final long keepMs;
    private final Set<String> ids = new HashSet<>();
    private final ArrayDeque<Entry> order = new ArrayDeque<>();

    ReplayCache(int capacity, long keepMs) {
        this.capacity = capacity;
        this.keepMs = keepMs;
    }

    /** True when this id is new; it is remembered. */
    synchronized boolean add(String id, long nowMs) {
        while (!order.isEmpty() && (order.peek().untilMs <= nowMs || order.size() >= capacity)) {
            ids.remove(order.poll().id);
        }
        if (!ids.add(id)) {
            return false;
        }
        order.add(new Entry(id, nowMs + keepMs));
        return true;
    }
}
