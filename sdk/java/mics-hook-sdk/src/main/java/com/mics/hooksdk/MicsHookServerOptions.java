package com.mics.hooksdk;

import java.time.Clock;
import java.time.Duration;
import java.util.Objects;
import java.util.function.Function;

/** How hook requests are checked, and the limits of a hook server. Immutable. */
public final class MicsHookServerOptions {
    private final Builder values;

    /**
     * The defaults of {@link #builder}.
     *
     * @param tenantSecretProvider tenant id to secret; null or blank for unknown tenants. Called for every request.
     * @param requireSign refuse unsigned requests.
     */
    public MicsHookServerOptions(Function<String, String> tenantSecretProvider, boolean requireSign) {
        this(builder(tenantSecretProvider).requireSign(requireSign));
    }

    private MicsHookServerOptions(Builder builder) {
        values = builder.copy();
    }

    /** Starts with signatures required and the defaults named at each setter. */
    public static Builder builder(Function<String, String> tenantSecretProvider) {
        return new Builder(tenantSecretProvider);
    }

    public Function<String, String> tenantSecretProvider() {
        return values.tenantSecretProvider;
    }

    public boolean requireSign() {
        return values.requireSign;
    }

    public int maxBodyBytes() {
        return values.maxBodyBytes;
    }

    public Duration freshnessWindow() {
        return values.freshnessWindow;
    }

    public int replayCacheSize() {
        return values.replayCacheSize;
    }

    public Duration handlerBudget() {
        return values.handlerBudget;
    }

    public int handlerThreads() {
        return values.handlerThreads;
    }

    public Clock clock() {
        return values.clock;
    }

    /** Collects options; every setter returns the builder. */
    public static final class Builder implements Cloneable {
        private final Function<String, String> tenantSecretProvider;
        private boolean requireSign = true;
        private int maxBodyBytes = 4 << 20;
        private Duration freshnessWindow = Duration.ofMinutes(1);
        private int replayCacheSize = 200_000;
        private Duration handlerBudget = Duration.ofMillis(120);
        private int handlerThreads = 64;
        private Clock clock = Clock.systemUTC();

        private Builder(Function<String, String> tenantSecretProvider) {
            this.tenantSecretProvider = Objects.requireNonNull(tenantSecretProvider, "tenantSecretProvider");
        }

        /** Refuse unsigned requests. true. An unsigned request has no protection by time or replay cache either. */
        public Builder requireSign(boolean value) {
            requireSign = value;
            return this;
        }

        /** Longest request body; a longer one is answered 413 unread. 4 MiB. */
        public Builder maxBodyBytes(int value) {
            maxBodyBytes = positive(value, "maxBodyBytes");
            return this;
        }

        /** How far a signed request's time may be from ours, in both directions; zero switches the check off. 1 min. */
        public Builder freshnessWindow(Duration value) {
            freshnessWindow = Objects.requireNonNull(value);
            return this;
        }

        /** Request ids remembered within twice the window, so that each is answered once; 0 switches it off. 200 000. */
        public Builder replayCacheSize(int value) {
            replayCacheSize = value;
            return this;
        }

        /**
         * Time for a handler, waiting for a thread included. Afterwards the gateway gets 503 and degrades as it does for
         * any failed hook, and the handler's thread is interrupted. 120 ms of the gateway's 150.
         */
        public Builder handlerBudget(Duration value) {
            handlerBudget = Objects.requireNonNull(value);
            return this;
        }

        /** Handlers at work at a time; four times as many may wait. 64. */
        public Builder handlerThreads(int value) {
            handlerThreads = positive(value, "handlerThreads");
            return this;
        }

        /** Source of the present time. The system's. */
        public Builder clock(Clock value) {
            clock = Objects.requireNonNull(value);
            return this;
        }

        public MicsHookServerOptions build() {
            return new MicsHookServerOptions(this);
        }

        private Builder copy() {
            try {
                return (Builder) clone();
            } catch (CloneNotSupportedException e) {
                throw new AssertionError(e);
            }
        }

        private static int positive(int value, String name) {
            if (value <= 0) {
                throw new IllegalArgumentException(name + " must be above zero");
            }
            return value;
        }
    }
}
