package com.mics.hooksdk.kafka;

import com.mics.contracts.hook.v1.MqEvent;

/** What the tenant does with an event. */
@FunctionalInterface
public interface MicsEventHandler {
    /**
     * Called with verified events, one after the other; events of one user in their order. What it throws is tried again
     * and then put among the dead letters. After a crash the same event can come again.
     */
    void onEvent(MqEvent event) throws Exception;
}
