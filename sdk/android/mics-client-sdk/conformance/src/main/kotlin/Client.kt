// The Kotlin client behind the script that drives all client SDKs: JSON commands on stdin, answers and events on stdout.

import com.google.gson.Gson
import com.google.gson.JsonElement
import com.google.gson.JsonObject
import com.google.gson.JsonParser
import com.mics.client.AesGcmMessageCrypto
import com.mics.client.MicsClient
import com.mics.client.MicsClientOptions
import com.mics.client.MicsConnectParams
import com.mics.client.MicsException
import com.mics.client.MicsLifecycle
import com.mics.client.TokenProvider
import com.mics.contracts.message.v1.MessageAck
import java.time.Duration
import java.util.Base64
import java.util.concurrent.atomic.AtomicInteger
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking

private val gson = Gson()

@Synchronized
private fun print(vararg fields: Pair<String, Any?>) {
    println(gson.toJson(mapOf(*fields)))
    System.out.flush()
}

fun main() = runBlocking {
    val commands = Channel<JsonObject>(Channel.UNLIMITED)
    Thread {
        generateSequence(::readlnOrNull).filter { it.isNotBlank() }
            .forEach { commands.trySend(JsonParser.parseString(it).asJsonObject) }
        commands.close()
    }.apply { isDaemon = true }.start()
    val program = Program(this)
    for (command in commands) {
        if (command.text("op") == "exit") {
            print("n" to command["n"], "ok" to true)
            break
        }
        // Started in the order of the commands; a send may be pending while later ones are answered.
        launch(start = CoroutineStart.UNDISPATCHED) { program.answer(command) }
    }
    System.out.flush()
    Runtime.getRuntime().halt(0)
}

private class Program(private val scope: CoroutineScope) {
    private var client: MicsClient? = null

    suspend fun answer(command: JsonObject) {
        val n = command["n"]
        try {
            print("n" to n, "ok" to true, *run(command))
        } catch (e: Exception) {
            val code = (e as? MicsException)?.code
            val error = listOf("n" to n, "ok" to false, "error" to (e.message ?: e.javaClass.simpleName))
            print(*(if (code == null) error else error + ("code" to code)).toTypedArray())
        }
    }

    private suspend fun run(command: JsonObject): Array<Pair<String, Any?>> = when (command.text("op")) {
        "connect" -> arrayOf("session" to connect(command))
        "send" -> arrayOf("ack" to ack(current().sendSingleChat(command.text("to"), command.body(), command.textOrNull("msgId"))))
        "sendGroup" ->
            arrayOf("ack" to ack(current().sendGroupChat(command.text("group"), command.body(), command.textOrNull("msgId"))))
        "disconnect" -> {
            current().disconnect()
            emptyArray()
        }
        else -> throw IllegalArgumentException("unknown op ${command["op"]}")
    }

    private fun current(): MicsClient = client ?: throw IllegalStateException("not connected")

    private suspend fun connect(command: JsonObject): Any {
        client?.close()
        val created = MicsClient(options(command))
        client = created
        report(created)
        val tokens = command["tokens"].asJsonArray.map(JsonElement::getAsString)
        val next = AtomicInteger()
        return created.connect(
            MicsConnectParams(
                command.text("url"),
                command.text("tenantId"),
                TokenProvider { tokens[minOf(next.getAndIncrement(), tokens.size - 1)] },
                command.text("deviceId"),
            ),
        )
    }

    private fun report(client: MicsClient) {
        fun observe(block: suspend () -> Unit) = scope.launch(Dispatchers.Unconfined) { block() }
        observe {
            client.deliveries.collect {
                print(
                    "event" to "delivery", "msgId" to it.message.msgId, "from" to it.message.userId,
                    "group" to it.message.groupId, "body" to Base64.getEncoder().encodeToString(it.message.msgBody.toByteArray()),
                )
            }
        }
        observe { client.errors.collect { print("event" to "serverError", "code" to it.code, "message" to it.message) } }
        observe {
            client.lifecycle.collect {
                when (it) {
                    is MicsLifecycle.StateChanged -> print("event" to "state", "state" to it.state.name.lowercase())
                    is MicsLifecycle.Connected -> print("event" to "connected", "session" to it.session)
                    is MicsLifecycle.Closed -> print("event" to "closed", "code" to it.code, "terminal" to it.terminal)
                }
            }
        }
    }

    private fun ack(ack: MessageAck) = mapOf("msgId" to ack.msgId, "status" to ack.status.name, "reason" to ack.reason)

    private fun options(command: JsonObject): MicsClientOptions {
        val given = command["options"]?.asJsonObject ?: JsonObject()
        val base = MicsClientOptions()
        fun millis(name: String, default: Duration) = given[name]?.let { Duration.ofMillis(it.asLong) } ?: default
        return base.copy(
            connectTimeout = millis("connectTimeoutMs", base.connectTimeout),
            ackTimeout = millis("ackTimeoutMs", base.ackTimeout),
            maxSendAttempts = given["maxSendAttempts"]?.asInt ?: base.maxSendAttempts,
            heartbeatInterval = millis("heartbeatIntervalMs", base.heartbeatInterval),
            autoReconnect = given["autoReconnect"]?.asBoolean ?: base.autoReconnect,
            reconnectMinDelay = millis("reconnectMinDelayMs", base.reconnectMinDelay),
            reconnectMaxDelay = millis("reconnectMaxDelayMs", base.reconnectMaxDelay),
            sendDeadline = millis("sendDeadlineMs", base.sendDeadline),
            watchdogSlack = millis("watchdogSlackMs", base.watchdogSlack),
            limitedDelay = millis("limitedDelayMs", base.limitedDelay),
            messageCrypto = command.textOrNull("key")?.let { AesGcmMessageCrypto(unhex(it)) },
        )
    }
}

private fun JsonObject.text(name: String): String = requireNotNull(textOrNull(name)) { "$name is missing" }

private fun JsonObject.textOrNull(name: String): String? = this[name]?.takeIf { !it.isJsonNull }?.asString

private fun JsonObject.body(): ByteArray = Base64.getDecoder().decode(text("body"))

private fun unhex(hex: String) = hex.chunked(2).map { it.toInt(16).toByte() }.toByteArray()
