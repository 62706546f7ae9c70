"""Makes the Markdown table of bench/cluster.sh from its lines: kind, cores used by others, JSON."""
import json
import statistics
import sys

lines = [line.split(" ", 2) for line in open(sys.argv[1])]
runs = [(kind, float(others), json.loads(figures)) for kind, others, figures in lines]


def of(kind, *path):
    """The figure at `path` in every run of this kind."""
    found = []
    for name, _, value in runs:
        if name == kind:
            for key in path:
                value = value[key]
            found.append(value)
    return found


def ms(values):
    """Microseconds as `median (best to worst)` in milliseconds."""
    if not values:
        return "-"
    return f"{statistics.median(values) / 1000:.2f} ({min(values) / 1000:.2f} to {max(values) / 1000:.2f})"


def row(what, figure):
    print(f"| {what} | {figure} |")


def delivery(kind, rate):
    count = len(of(kind, "load"))
    if not count:
        return
    sums = [sum(of(kind, "load", key)) for key in ("send_ok", "deliveries", "lost", "out_of_order", "duplicated")]
    row(f"{rate}, {count} runs: sent, delivered, lost, out of order, twice", ", ".join(f"{n:,}" for n in sums))
    row("same: passed unchecked", f"{sum(of(kind, 'unchecked')):,}")
    row("same: delivery p50, ms", ms(of(kind, "load", "delivery", "p50_us")))
    row("same: delivery p99, ms", ms(of(kind, "load", "delivery", "p99_us")))


def redis():
    for busy, idle in zip(of("busy"), of("idle")):
        total, rest = sum(busy["commands"].values()), sum(idle["commands"].values())
        row(f"Redis commands in the steady state, those inside scripts included, {busy['messages']:,} messages / the same time without",
            f"{total} / {rest}: {(total - rest) / max(busy['messages'], 1):.5f} per message")
        scripts = busy["commands"].get("eval", 0) - idle["commands"].get("eval", 0)
        row("same: scripts called by the nodes per message", f"{scripts / max(busy['messages'], 1):.5f}")
        row("which ones", f"{busy['commands']} / {idle['commands']}")


def storm(kind, what):
    pairs = of(kind, "pair")
    if not pairs:
        return
    if kind != "calm":
        counts = [sum(of(kind, "storm", key)) for key in ("connections_closed", "connections_not_back")]
        row(f"{what}, {len(pairs)} runs: cut, not back", ", ".join(f"{n:,}" for n in counts))
        row("same: first cut to last back, ms", ms(of(kind, "storm", "all_back_us")))
        row("same: time without connection of one client, p50, ms", ms(of(kind, "storm", "back", "p50_us")))
        row("same: p99, ms", ms(of(kind, "storm", "back", "p99_us")))
        row("same: refused attempts, by close code (1006: the cut)", of(kind, "storm", "close_codes"))
        row("same: /auth calls of their node since its start, by result", of(kind, "auths"))
    name = "same: a pair of another tenant on the other node" if kind != "calm" else what
    row(f"{name}: sent, lost", ", ".join(f"{sum(p[key] for p in pairs):,}" for key in ("send_ok", "lost")))
    row("same: its delivery p50, ms", ms([p["delivery"]["p50_us"] for p in pairs]))
    row("same: its delivery p99, ms", ms([p["delivery"]["p99_us"] for p in pairs]))
    row("same: its worst, ms", ms([p["delivery"]["max_us"] for p in pairs]))


print("| what | median (best to worst) |")
print("|---|---|")
delivery("slow", "2,000 messages/s from node to node")
delivery("fast", "10,200 messages/s, half of them by each of two tenants, counted per tenant")
redis()
storm("calm", "nothing cut: a pair")
storm("moved", "node killed, its clients go to the other")
storm("restarted", "node killed, started again, its clients come back to it")
noise = [others for _, others, _ in runs]
if noise:
    row("cores used by the rest of the machine meanwhile: median, most", f"{statistics.median(noise):.2f}, {max(noise):.2f}")
