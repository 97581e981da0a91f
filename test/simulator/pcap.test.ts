/** Capture files of the simulator: what tshark reads in them is what was said. */
import { execFile } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { encodeTree } from '../../src/diameter/tree.js'
import { pcapOf, type CapturedMessage, type Endpoint } from '../../src/simulator/pcap.js'
import { toolOrNotRun } from '../support/tools.js'
import { dictionary } from '../support/vectors.js'

const gateway: Endpoint = { address: '192.0.2.1', port: 40_001 }
const server: Endpoint = { address: '192.0.2.2', port: 3868 }

const watchdog = (command: 'DWR' | 'DWA', hopByHop: number, text = 'pgw1.example.net'): Buffer =>
  encodeTree(dictionary, {
    command,
    hopByHop,
    endToEnd: hopByHop,
    avps: [
      ...(command === 'DWA' ? [['Result-Code', 2001] as const] : []),
      ['Origin-Host', text],
      ['Origin-Realm', 'r'],
    ],
  })

t.test('tshark finds every message, its time, its addresses, and nothing wrong', async t => {
  const tshark = toolOrNotRun(t, 'tshark', 'tshark')
  if (tshark === undefined) return
  const six = { address: '2001:db8::1', port: 40_002 }
  const at = Date.UTC(2026, 0, 15, 12)
  const messages: CapturedMessage[] = [
    { at, from: gateway, to: server, octets: watchdog('DWR', 1) },
    { at: at + 1.5, from: server, to: gateway, octets: watchdog('DWA', 1) },
    { at: at + 2, from: six, to: { address: '::ffff:192.0.2.2', port: 3868 }, octets: watchdog('DWR', 2) },
    // Larger than a TCP segment can be.
    { at: at + 3, from: gateway, to: server, octets: watchdog('DWR', 3, 'x'.repeat(150_001)) },
    { at: at + 4, from: server, to: gateway, octets: watchdog('DWA', 3) },
  ]
  const file = join(t.testdir({}), 'messages.pcap')
  writeFileSync(file, pcapOf(messages))
  const fields = [
    'frame.time_epoch',
    'ip.src',
    'ipv6.src',
    'diameter.cmd.code',
    'diameter.flags.request',
    'diameter.hopbyhopid',
  ]
  const run = promisify(execFile)
  const checks = ['-o', 'tcp.check_checksum:TRUE', '-o', 'ip.check_checksum:TRUE']
  const { stdout } = await run(tshark, [
    ...['-n', '-r', file, ...checks, '-Y', 'diameter', '-T', 'fields', '-E', 'separator=|'],
    ...fields.flatMap(field => ['-e', field]),
  ])
  t.same(stdout.trim().split('\n'), [
    '1768478400.000000000|192.0.2.1||280|1|0x00000001',
    '1768478400.001500000|192.0.2.2||280|0|0x00000001',
    '1768478400.002000000||2001:db8::1|280|1|0x00000002',
    '1768478400.003000000|192.0.2.1||280|1|0x00000003',
    '1768478400.004000000|192.0.2.2||280|0|0x00000003',
  ])
  const { stdout: whole } = await run(tshark, ['-n', '-r', file, '-V', ...checks], { maxBuffer: 2 ** 26 })
  t.notMatch(whole, /Malformed|Status: Bad|Expert Info \((Error|Warning)/, 'checksums and sequence numbers are right')
})

t.test('a file without messages is a file', t => {
  t.equal(pcapOf([]).length, 24)
  t.end()
})
