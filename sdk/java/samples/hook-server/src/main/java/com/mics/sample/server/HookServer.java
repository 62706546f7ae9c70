package com.mics.sample.server;

import com.mics.hooksdk.MicsHookHttpServer;
import com.mics.hooksdk.MicsHookServerOptions;
import com.mics.sample.OfflineMessages;
import com.mics.sample.SampleConfig;
import com.mics.sample.SampleTenant;
import java.net.InetSocketAddress;

/** A tenant's back end on the JDK's HTTP server. Environment: see {@link SampleConfig}; port 8091. */
public final class HookServer {
    private HookServer() {}

    public static void main(String[] args) throws Exception {
        SampleConfig config = SampleConfig.fromEnvironment(8091);
        boolean pull = config.offlineUseHookPull() && !config.kafkaBrokers().isEmpty();
        OfflineMessages offline = pull ? new OfflineMessages(config) : null;
        SampleTenant tenant = new SampleTenant(config, pull ? offline.store() : null);
        MicsHookServerOptions options = new MicsHookServerOptions(config.tenantSecrets()::get, config.requireSign());
        MicsHookHttpServer server = new MicsHookHttpServer(new InetSocketAddress(config.port()), tenant, options);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> stop(server, offline)));
        server.start();
        System.out.println("listening on " + server.getAddress().getPort());
    }

    private static void stop(MicsHookHttpServer server, OfflineMessages offline) {
        server.close();
        try {
            if (offline != null) {
                offline.close();
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
