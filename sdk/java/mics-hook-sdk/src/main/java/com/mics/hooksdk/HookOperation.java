package com.mics.hooksdk;

import java.util.Optional;

/** The four calls of the gateway and their paths. */
public enum HookOperation {
    AUTH("/auth"),
    CHECK_MESSAGE("/check-message"),
    GET_GROUP_MEMBERS("/get-group-members"),
    GET_OFFLINE_MESSAGES("/get-offline-messages");

    private final String path;

    HookOperation(String path) {
        this.path = path;
    }

    public String path() {
        return path;
    }

    /** By the end of a URL's path, so a hook base URL may have a path of its own. */
    public static Optional<HookOperation> ofPath(String urlPath) {
        for (HookOperation operation : values()) {
            if (urlPath.endsWith(operation.path)) {
                return Optional.of(operation);
            }
        }
        return Optional.empty();
    }
}
