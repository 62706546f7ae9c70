package com.mics.hooksdk.spring;

import com.mics.hooksdk.HookOperation;
import com.mics.hooksdk.MicsHookHandler;
import com.mics.hooksdk.MicsHookProcessor;
import com.mics.hooksdk.MicsHookServerOptions;
import jakarta.servlet.ServletContext;
import java.net.InetSocketAddress;
import java.util.stream.Stream;
import org.springframework.boot.autoconfigure.AutoConfiguration;
import org.springframework.boot.autoconfigure.condition.ConditionalOnBean;
import org.springframework.boot.autoconfigure.condition.ConditionalOnMissingBean;
import org.springframework.boot.autoconfigure.condition.ConditionalOnWebApplication;
import org.springframework.boot.context.properties.EnableConfigurationProperties;
import org.springframework.boot.web.servlet.ServletRegistrationBean;
import org.springframework.boot.web.servlet.context.ServletWebServerInitializedEvent;
import org.springframework.context.ApplicationListener;
import org.springframework.context.annotation.Bean;

/** Serves the four hook paths as soon as the application has a {@link MicsHookHandler} bean. */
@AutoConfiguration
@ConditionalOnWebApplication(type = ConditionalOnWebApplication.Type.SERVLET)
@ConditionalOnBean(MicsHookHandler.class)
@EnableConfigurationProperties(MicsHookProperties.class)
public class MicsHookAutoConfiguration {

    @Bean
    @ConditionalOnMissingBean
    MicsHookServerOptions micsHookServerOptions(MicsHookProperties properties) {
        return MicsHookServerOptions.builder(properties.tenantSecrets()::get)
                .requireSign(properties.requireSign())
                .maxBodyBytes(properties.maxBodyBytes())
                .freshnessWindow(properties.freshnessWindow())
                .replayCacheSize(properties.replayCacheSize())
                .handlerBudget(properties.handlerBudget())
                .handlerThreads(properties.handlerThreads())
                .build();
    }

    @Bean(destroyMethod = "close")
    @ConditionalOnMissingBean
    MicsHookProcessor micsHookProcessor(MicsHookHandler handler, MicsHookServerOptions options) {
        MicsHookProcessor processor = new MicsHookProcessor(handler, options);
        processor.warmUp();
        return processor;
    }

    @Bean
    ServletRegistrationBean<MicsHookServlet> micsHookServlet(MicsHookProcessor processor, MicsHookProperties properties) {
        String[] paths = Stream.of(HookOperation.values())
                .map(operation -> properties.basePath() + operation.path())
                .toArray(String[]::new);
        ServletRegistrationBean<MicsHookServlet> servlet =
                new ServletRegistrationBean<>(new MicsHookServlet(processor), paths);
        // Loaded at the start: the first request has 150 ms like any other.
        servlet.setLoadOnStartup(1);
        return servlet;
    }

    /** The web server's part of the first request takes its time, too. */
    @Bean
    ApplicationListener<ServletWebServerInitializedEvent> micsHookWarmUp(
            MicsHookProcessor processor, MicsHookProperties properties, ServletContext context) {
        String path = context.getContextPath() + properties.basePath() + HookOperation.AUTH.path();
        return event -> {
            // A server of its own for management has a name.
            if (event.getApplicationContext().getServerNamespace() == null) {
                processor.warmUp(new InetSocketAddress(event.getWebServer().getPort()), path);
            }
        };
    }
}
