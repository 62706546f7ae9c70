package com.mics.hooksdk;

import com.mics.contracts.hook.v1.HookMeta;
import java.util.Optional;

/** Decides whether a hook request comes from the gateway, now, for the first time. */
final class RequestGuard {
    private final MicsHookServerOptions options;
    private final ReplayCache seen;

    RequestGuard(MicsHookServerOptions options) {
        this.options = options;
        // A request may be dated one window ahead of us and come again until one window after that.
        seen = new ReplayCache(options.replayCacheSize(), options.freshnessWindow().toMillis() * 2);
    }

    /** Gives the reason to refuse this request, or nothing. */
    Optional<String> refusal(HookMeta meta, byte[] received) {
        String tenant = meta.getTenantId();
        if (tenant.isBlank()) {
            return Optional.of("invalid tenant");
        }
        String secret = options.tenantSecretProvider().apply(tenant);
        if (Hmac.isBlank(secret)) {
            return Optional.of("unknown tenant");
        }
        if (!HookSigner.verifyReceived(secret, meta, received, options.requireSign())) {
            return Optional.of("invalid sign");
        }
        // Without a signature time and id can be made up, so there is nothing to learn from them.
        return meta.getSign().isEmpty() ? Optional.empty() : oldOrRepeated(meta);
    }

    private Optional<String> oldOrRepeated(HookMeta meta) {
        long now = options.clock().millis();
        long window = options.freshnessWindow().toMillis();
        if (window <= 0) {
            return Optional.empty();
        }
        if (meta.getTimestampMs() < now - window || meta.getTimestampMs() > now + window) {
            return Optional.of("stale request");
        }
        // Tenant ids have no line breaks, so two pairs cannot make one key.
        String id = meta.getTenantId() + '\n' + meta.getRequestId();
        return options.replayCacheSize() <= 0 || seen.add(id, now) ? Optional.empty() : Optional.of("replayed request");
    }
}
