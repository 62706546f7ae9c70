package com.mics.sample;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * What the samples read from the environment.
 *
 * @param port {@code PORT}
 * @param requireSign {@code REQUIRE_SIGN}, true
 * @param tenantSecrets {@code TENANT_SECRETS}, {@code t1=dev-secret-t1}
 * @param groupMembers {@code GROUP_MEMBERS}, {@code group-1=u1|u2|u3}
 * @param publicUrl {@code PUBLIC_URL}, where the gateway reaches this server; {@code http://localhost:PORT}
 * @param offlineUseHookPull {@code OFFLINE_USE_HOOK_PULL}, false
 * @param kafkaBrokers {@code KAFKA_BROKERS}, none
 * @param groupId {@code GROUP_ID}, {@code mics-hook-} and the tenants
 * @param databaseUrl {@code DATABASE_URL}, an H2 file in {@code ./data}
 */
public record SampleConfig(
        int port,
        boolean requireSign,
        Map<String, String> tenantSecrets,
        Map<String, List<String>> groupMembers,
        String publicUrl,
        boolean offlineUseHookPull,
        String kafkaBrokers,
        String groupId,
        String databaseUrl) {

    public static SampleConfig fromEnvironment(int defaultPort) {
        int port = Integer.parseInt(env("PORT", Integer.toString(defaultPort)));
        Map<String, String> secrets = pairs(env("TENANT_SECRETS", "t1=dev-secret-t1"));
        Map<String, List<String>> groups = new LinkedHashMap<>();
        pairs(env("GROUP_MEMBERS", "group-1=u1|u2|u3"))
                .forEach((group, members) -> groups.put(group, List.of(members.split("\\|"))));
        return new SampleConfig(
                port,
                Boolean.parseBoolean(env("REQUIRE_SIGN", "true")),
                secrets,
                groups,
                env("PUBLIC_URL", "http://localhost:" + port),
                Boolean.parseBoolean(env("OFFLINE_USE_HOOK_PULL", "false")),
                env("KAFKA_BROKERS", ""),
                env("GROUP_ID", "mics-hook-" + String.join("-", secrets.keySet())),
                env("DATABASE_URL", "jdbc:h2:file:./data/mics-offline"));
    }

    /** {@code a=1,b=2} */
    static Map<String, String> pairs(String text) {
        Map<String, String> pairs = new LinkedHashMap<>();
        Arrays.stream(text.split(",")).map(String::trim).filter(pair -> !pair.isEmpty()).forEach(pair -> {
            int equals = pair.indexOf('=');
            if (equals <= 0) {
                throw new IllegalArgumentException("need name=value, got no '=' in one of the pairs");
            }
            pairs.put(pair.substring(0, equals).trim(), pair.substring(equals + 1).trim());
        });
        return pairs;
    }

    private static String env(String name, String otherwise) {
        String value = System.getenv(name);
        return value == null || value.isBlank() ? otherwise : value;
    }
}
