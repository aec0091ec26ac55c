"""The Python clients: paho-mqtt, aiomqtt and gmqtt, in every version and QoS that each has."""

import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import scenarios
from aiomqtt_adapter import AiomqttAdapter
from gmqtt_adapter import GmqttAdapter
from harness.report import Report
from paho_adapter import PahoAdapter

ADAPTERS = {adapter.name: adapter for adapter in (PahoAdapter, AiomqttAdapter, GmqttAdapter)}

MIB = 1024 * 1024


def main():
    """Runs the scenarios that the command line chooses; without a choice, all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--pid", type=int)
    parser.add_argument("--qos", type=int, action="append")
    parser.add_argument("--version", action="append")
    parser.add_argument("--test", action="append")
    parser.add_argument("clients", nargs="*", metavar="CLIENT")
    options = parser.parse_args()

    report = Report()
    for name in options.clients or ADAPTERS:
        adapter = ADAPTERS[name]
        for version in adapter.versions:
            if version not in (options.version or adapter.versions):
                continue
            for test, scenario, arguments in matrix(adapter, version, options.qos or (0, 1, 2)):
                if any(part in test for part in options.test or ("",)):
                    setting = scenarios.Setting(adapter, version, options.host, options.port)
                    report.run(f"{name} {version} {test}", scenario, setting, *arguments)
    report.exit()


def matrix(adapter, version, levels):
    """Name, scenario and arguments of every test of one version."""
    yield "connect", scenarios.connect, ()
    for qos in levels:
        yield f"QoS {qos} wildcards", scenarios.wildcards, (qos,)
        yield f"QoS {qos} retained", scenarios.retained, (qos,)
        yield f"QoS {qos} will", scenarios.will, (qos,)
        if qos > 0:
            yield f"QoS {qos} session", scenarios.session, (qos,)
        yield f"QoS {qos} shared subscription", scenarios.shared, (qos,)
        yield f"QoS {qos} 1 MiB", scenarios.large_payload, (qos, MIB)
        yield f"QoS {qos} 20 MiB", scenarios.large_payload, (qos, 20 * MIB)
        yield f"QoS {qos} 10,000 topics", scenarios.many_topics, (qos,)
        if version == "5.0":
            yield f"QoS {qos} properties", scenarios.properties, (qos,)
            yield f"QoS {qos} request and response", scenarios.request_response, (qos,)
            yield f"QoS {qos} alias to the server", scenarios.alias_to_server, (qos,)
            if adapter.resolves_aliases:
                yield f"QoS {qos} alias from the server", scenarios.alias_from_server, (qos,)


if __name__ == "__main__":
    main()
