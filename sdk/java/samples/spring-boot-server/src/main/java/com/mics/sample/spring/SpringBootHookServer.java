package com.mics.sample.spring;

import com.mics.hooksdk.MicsHookHandler;
import com.mics.hooksdk.MicsHookServerOptions;
import com.mics.sample.OfflineMessages;
import com.mics.sample.SampleConfig;
import com.mics.sample.SampleTenant;
import org.springframework.beans.factory.ObjectProvider;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.boot.autoconfigure.condition.ConditionalOnExpression;
import org.springframework.boot.web.servlet.context.ServletWebServerInitializedEvent;
import org.springframework.context.annotation.Bean;
import org.springframework.context.event.EventListener;

/** A tenant's back end with Spring Boot. Environment: see {@link SampleConfig}; port 8092. */
@SpringBootApplication
public class SpringBootHookServer {

    public static void main(String[] args) {
        SpringApplication.run(SpringBootHookServer.class, args);
    }

    @Bean
    SampleConfig sampleConfig() {
        return SampleConfig.fromEnvironment(8092);
    }

    /** Most applications need no such bean: {@code mics.hook.tenant-secrets.t1=...} does the same. */
    @Bean
    MicsHookServerOptions micsHookServerOptions(SampleConfig config) {
        return new MicsHookServerOptions(config.tenantSecrets()::get, config.requireSign());
    }

    /** Only with {@code OFFLINE_USE_HOOK_PULL=true} and {@code KAFKA_BROKERS}. */
    @Bean
    @ConditionalOnExpression("${OFFLINE_USE_HOOK_PULL:false} and '${KAFKA_BROKERS:}' != ''")
    OfflineMessages offlineMessages(SampleConfig config) throws Exception {
        return new OfflineMessages(config);
    }

    @Bean
    MicsHookHandler micsHookHandler(SampleConfig config, ObjectProvider<OfflineMessages> offline) {
        return new SampleTenant(config, offline.stream().map(OfflineMessages::store).findFirst().orElse(null));
    }

    @EventListener
    void ready(ServletWebServerInitializedEvent event) {
        System.out.println("listening on " + event.getWebServer().getPort());
    }
}
