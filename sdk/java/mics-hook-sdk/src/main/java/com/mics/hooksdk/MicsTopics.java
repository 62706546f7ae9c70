package com.mics.hooksdk;

/** Names of a tenant's Kafka topics. */
public final class MicsTopics {
    private MicsTopics() {}

    /** Where the gateway publishes the tenant's events. */
    public static String eventTopicName(String tenantId) {
        return "im-mics-" + tenantId + "-event";
    }

    /** Where the gateway puts events that it could not publish. Operators send them again with {@code mics dlq}. */
    public static String dlqTopicName(String tenantId) {
        return eventTopicName(tenantId) + "-dlq";
    }

    /**
     * Where a consumer puts events that it refused or could not handle. Not the gateway's: what lies there is sent again
     * to the event topic, and would come back for ever.
     */
    public static String consumerDlqTopicName(String tenantId) {
        return eventTopicName(tenantId) + "-consumer-dlq";
    }
}
