// A chat in the terminal: every line typed goes to one user, what comes for us is printed.
//
//   java -jar samples/console/target/mics-console.jar --token valid:u1 --deviceId dev1 --toUserId u2

import com.mics.client.MicsClient
import com.mics.client.MicsConnectParams
import com.mics.client.MicsException
import kotlin.system.exitProcess
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withContext

private val defaults = mapOf(
    "url" to "ws://localhost:8080/ws",
    "tenantId" to "t1",
    "token" to "valid:u1",
    "deviceId" to "dev1",
    "toUserId" to "u2",
)

fun main(args: Array<String>) = runBlocking {
    val options = parse(args)
    val client = MicsClient()
    val printer = launch {
        launch { client.deliveries.collect { println("${it.message.userId}: ${it.message.msgBody.toStringUtf8()}") } }
        client.state.collect { println("* $it") }
    }
    try {
        val session = client.connect(
            MicsConnectParams(
                url = options.getValue("url"),
                tenantId = options.getValue("tenantId"),
                token = options.getValue("token"),
                deviceId = options.getValue("deviceId"),
            ),
        )
        println("* ${session.userId} on ${session.nodeId}; lines go to ${options["toUserId"]}, an empty one ends")
        chat(client, options.getValue("toUserId"))
        client.disconnect()
    } catch (e: MicsException) {
        println("* ${e.message}")
    } finally {
        printer.cancel()
        client.close()
    }
}

private suspend fun chat(client: MicsClient, to: String) {
    while (true) {
        val line = withContext(Dispatchers.IO) { readlnOrNull() }
        if (line.isNullOrEmpty()) return
        val ack = client.sendSingleChat(to, line.toByteArray())
        println("* ${ack.status} ${ack.reason}")
    }
}

private fun parse(args: Array<String>): Map<String, String> {
    val given = args.toList().chunked(2).associate { it[0].removePrefix("--") to it.getOrNull(1) }
    if (given.any { (name, value) -> name !in defaults || value == null }) {
        println("options: " + defaults.entries.joinToString(" ") { "--${it.key} ${it.value}" })
        exitProcess(2)
    }
    return defaults + given.mapValues { it.value.orEmpty() }
}
