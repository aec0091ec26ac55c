// MQTT.js in every version and QoS that it has.
//
// main.mjs <folder of node_modules> --host HOST --port PORT [--version V] [--qos N] [--test WORDS]

import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';

import { VERSIONS, within } from './client.mjs';
import * as scenarios from './scenarios.mjs';

const MIB = 1024 * 1024;

// Milliseconds after which a test has failed, whatever it awaits.
const TEST_DEADLINE = 60_000;

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    host: { type: 'string' },
    port: { type: 'string' },
    pid: { type: 'string' },
    version: { type: 'string' },
    qos: { type: 'string' },
    test: { type: 'string' },
  },
});
const mqtt = createRequire(`${resolve(positionals[0])}/`)('mqtt');

// Name, scenario and arguments of every test of one version.
function* matrix(version) {
  yield ['connect', scenarios.connect];
  for (const qos of [0, 1, 2]) {
    if (options.qos !== undefined && Number(options.qos) !== qos) continue;
    const name = (words) => `QoS ${qos} ${words}`;
    yield [name('wildcards'), scenarios.wildcards, qos];
    yield [name('retained'), scenarios.retained, qos];
    yield [name('will'), scenarios.will, qos];
    if (qos > 0) yield [name('session'), scenarios.session, qos];
    yield [name('shared subscription'), scenarios.shared, qos];
    yield [name('1 MiB'), scenarios.largePayload, qos, MIB];
    yield [name('20 MiB'), scenarios.largePayload, qos, 20 * MIB];
    yield [name('10,000 topics'), scenarios.manyTopics, qos];
    if (version === '5.0') {
      yield [name('properties'), scenarios.properties, qos];
      yield [name('request and response'), scenarios.requestResponse, qos];
      yield [name('alias to the server'), scenarios.aliasToServer, qos];
      // MQTT.js 5.16 puts a QoS 2 message aside as it came, and so shows an empty topic for one that came
      // with an alias alone.
      if (qos < 2) yield [name('alias from the server'), scenarios.aliasFromServer, qos];
    }
  }
}

let failed = 0;
for (const version of VERSIONS) {
  if (options.version !== undefined && options.version !== version) continue;
  for (const [words, scenario, ...rest] of matrix(version)) {
    if (options.test !== undefined && !words.includes(options.test)) continue;
    const name = `MQTT.js ${version} ${words}`;
    const setting = new scenarios.Setting(mqtt, version, options.host, Number(options.port));
    try {
      await within(scenario(setting, ...rest), 'end of the test', TEST_DEADLINE);
      console.log(`ok ${name}`);
    } catch (error) {
      failed += 1;
      console.log(`FAILED ${name}: ${inOneLine(error)}`);
    }
  }
}
// Clients of a failed test would keep the process alive.
process.exit(failed ? 1 : 0);

// The error and the place in the scenarios that it came from.
function inOneLine(error) {
  const place = /scenarios\.mjs:\d+/.exec(error.stack ?? '')?.[0] ?? '';
  return `${String(error.message).replace(/\s+/g, ' ').slice(0, 500)} (${place})`;
}
