package com.mics.hooksdk.spring;

import java.time.Duration;
import java.util.Map;
import org.springframework.boot.context.properties.ConfigurationProperties;
import org.springframework.boot.context.properties.bind.DefaultValue;

/**
 * {@code mics.hook.*}. What the limits mean: {@link com.mics.hooksdk.MicsHookServerOptions.Builder}.
 *
 * @param basePath path before {@code /auth} and the others.
 * @param requireSign refuse unsigned requests.
 * @param tenantSecrets tenant id to secret; for secrets from elsewhere define a {@code MicsHookServerOptions} bean.
 */
@ConfigurationProperties("mics.hook")
public record MicsHookProperties(
        @DefaultValue("") String basePath,
        @DefaultValue("true") boolean requireSign,
        @DefaultValue Map<String, String> tenantSecrets,
        @DefaultValue("4194304") int maxBodyBytes,
        @DefaultValue("1m") Duration freshnessWindow,
        @DefaultValue("200000") int replayCacheSize,
        @DefaultValue("120ms") Duration handlerBudget,
        @DefaultValue("64") int handlerThreads) {}
