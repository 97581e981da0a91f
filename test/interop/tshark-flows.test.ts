/**
 * Every message that ocsd sends in the reference flows F01 to F17, in any way to say that units are the last, and of its own
 * (RAR, ASR), judged by tshark, which was written by none of us.
 */
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { standardProfile } from '../../src/config/profiles.js'
import type { CcrInput, ServiceInput, UnitAmounts } from '../../src/simulator/ccr.js'
import type { Gateway } from '../../src/simulator/gateway.js'
import { aPeer } from '../support/diameter-server.js'
import { flowScripts, playFlow } from '../support/flow-operator.js'
import { until } from '../support/ocsd-process.js'
import { linesOf, startScenario, Talk, type Scenario } from '../support/scenario.js'
import { toolOrNotRun } from '../support/tools.js'
import { judgeServers } from '../support/tshark.js'
import { listenIn, type Wire } from '../support/wire.js'

const catalog = fileURLToPath(new URL('../conformance/catalog.yaml', import.meta.url))
const context = {
  data: '32251@3gpp.org',
  voice: '32260@3gpp.org',
  time: '32251@time.example.net',
  informed: '32251@informed.example.net',
  shop: 'value@example.net',
} as const

/** Offers of the conformance catalog, and what a session of each asks for. */
const offers: readonly [offer: string, service: keyof typeof context, ratingGroups: readonly (number | undefined)[]][] =
  [
    ['standard', 'data', [10, 20, 30, 31, 40, 41]],
    ['standard', 'voice', [100]],
    ['redirect', 'data', [10]],
    ['redirect-sip', 'data', [10]],
    ['redirect-ipv4', 'data', [10]],
    ['redirect-ipv6', 'data', [10]],
    ['restrict', 'data', [10]],
    ['restrict-bare', 'data', [10]],
    ['pool', 'data', [10, 20, 11]],
    ['tariff', 'data', [10]],
    ['shop', 'shop', [undefined]],
    ['informed', 'informed', [10]],
    ['gpp-reporting', 'data', [10]],
    ['gpp-reporting', 'time', [30, 31]],
    ['gpp-mechanism', 'time', [31]],
    ['gpp-untriggered', 'data', [10]],
    ['gpp-announced', 'voice', [100]],
  ]

t.test('tshark reads every message of every flow', async t => {
  const tshark = toolOrNotRun(t, 'tshark', 'tshark')
  if (tshark === undefined) return
  const wires: Wire[] = []
  const listened = async (scenario: Scenario, port = scenario.daemon.addresses.diameter[0]!.port): Promise<Wire> => {
    const wire = await listenIn(t, port)
    wires.push(wire)
    return wire
  }

  await t.test('the scripts of F01 to F16', async t => {
    const scenario = await startScenario(t)
    const second = await scenario.another()
    const one = await listened(scenario)
    const two = await listened(scenario, second.addresses.diameter[0]!.port)
    const at = ({ port }: Wire) => ({ host: '127.0.0.1', port })
    const names = flowScripts()
    for (let flow = 1; flow <= 16; flow++) {
      const name = `f${String(flow).padStart(2, '0')}-`
      t.ok(names.some(each => each.startsWith(name)), name) // prettier-ignore
    }
    for (const name of names) {
      const { failed } = await playFlow(t, scenario, name, { one: at(one), two: at(two) })
      t.equal(failed, 0, name)
    }
  })

  await t.test('every offer, told of final units in each form', async t => {
    const forms = ['rfc4006', 'rfc8506', 'both'] as const
    const scenario = await startScenario(t, 'flows', ({ diameter, charging }) => ({
      catalog,
      charging: { ...charging, onSuspend: 'abort' },
      diameter: {
        ...diameter,
        peers: forms.map(finalUnits =>
          aPeer({
            ...{ name: finalUnits, identity: `${finalUnits}.example.net` },
            profile: { ...standardProfile, finalUnits },
          }),
        ),
      },
    }))
    const wire = await listened(scenario)
    for (const form of forms) {
      const gateway = await gatewayOver(t, scenario, wire, `${form}.example.net`)
      for (const [offer, service, ratingGroups] of offers) {
        await usedUpAndRecharged(t, scenario, gateway, { offer, service, ratingGroups, money: '0.05' })
        if (form === 'both')
          await usedUpAndRecharged(t, scenario, gateway, { offer, service, ratingGroups, money: '10.00' })
      }
    }
  })

  await t.test('F17: who asks too often', async t => {
    const limits = { connections: undefined, inFlight: undefined, ratePerSecond: 1 }
    const scenario = await startScenario(t, 'flows', ({ diameter }) => ({
      diameter: { ...diameter, peers: [aPeer({ identity: '*', limits })] },
    }))
    const gateway = await gatewayOver(t, scenario, await listened(scenario), 'pgw1.example.net')
    const subject = await scenario.subject(t)
    const answers = await Promise.all(
      Array.from({ length: 5 }, () => new Talk(gateway, [subject.id]).initial([{ ratingGroup: 10, requested: {} }])),
    )
    t.ok(answers.filter(({ resultCode }) => resultCode === 3004).length >= 3, 'some are shed')
  })

  const messages = await judgeServers(t, tshark, wires)
  const count = (command: number, request: boolean): number =>
    messages.filter(each => each.command === command && each.request === request).length
  t.ok(count(272, false) > 300, `${count(272, false)} CCA`)
  t.ok(count(258, true) > 30, `${count(258, true)} RAR`)
  t.ok(count(274, true) > 30, `${count(274, true)} ASR`)
  const avps = messages.flatMap(({ frame }) => frame.avps)
  const read = new Set(avps.flatMap(({ name, value }) => [name, `${name} ${value}`]))
  for (const text of spots) t.ok(read.has(text), text)
  // QoS-Final-Unit-Indication: this tshark may not know it.
  t.ok(avps.filter(({ code }) => code === 669).length > 20, 'the form of RFC 8506')
})

/** What must have come, as tshark prints it; of a group its name. */
const spots: readonly string[] = [
  'Announcement-Identifier 7',
  'Base-Time-Interval 60',
  'CC-Money',
  'CC-Request-Type EVENT_REQUEST (4)',
  'CC-Service-Specific-Units 1',
  'CC-Session-Failover FAILOVER_SUPPORTED (1)',
  'CC-Time 60',
  'CC-Total-Octets 10485760',
  'CC-Unit-Type TOTAL-OCTETS (2)',
  'Check-Balance-Result ENOUGH_CREDIT (0)',
  'Check-Balance-Result NO_CREDIT (1)',
  'Cost-Information',
  'Currency-Code 978',
  'Direct-Debiting-Failure-Handling CONTINUE (1)',
  'Envelope-Reporting REPORT_ENVELOPES_WITH_VOLUME (2)',
  'Exponent -1',
  'Filter-Id walled-garden',
  'Final-Unit-Action REDIRECT (1)',
  'Final-Unit-Action RESTRICT_ACCESS (2)',
  'Final-Unit-Action TERMINATE (0)',
  'G-S-U-Pool-Identifier 1',
  'Low-Balance-Indication YES (1)',
  'PS-Furnish-Charging-Information',
  'Quota-Consumption-Time 30',
  'Quota-Holding-Time 600',
  'Re-Auth-Request-Type AUTHORIZE_ONLY (0)',
  'Redirect-Address-Type IPV4_ADDRESS (0)',
  'Redirect-Address-Type IPV6_ADDRESS (1)',
  'Redirect-Address-Type SIP_URI (3)',
  'Redirect-Address-Type URL (2)',
  'Redirect-Server-Address 192.0.2.1',
  'Redirect-Server-Address 2001:db8::1',
  'Redirect-Server-Address http://topup.example.net/',
  'Redirect-Server-Address sip:topup@ims.example.net',
  'Refund-Information',
  'Remaining-Balance',
  'Restriction-Filter-Rule permit out ip from 198.51.100.0/24 to any',
  'Result-Code DIAMETER_AUTHORIZATION_REJECTED (5003)',
  'Result-Code DIAMETER_CREDIT_CONTROL_NOT_APPLICABLE (4011)',
  'Result-Code DIAMETER_CREDIT_LIMIT_REACHED (4012)',
  'Result-Code DIAMETER_END_USER_SERVICE_DENIED (4010)',
  'Result-Code DIAMETER_RATING_FAILED (5031)',
  'Result-Code DIAMETER_TOO_BUSY (3004)',
  'Result-Code DIAMETER_UNABLE_TO_COMPLY (5012)',
  'Result-Code DIAMETER_UNKNOWN_SESSION_ID (5002)',
  'Tariff-Time-Change',
  'Time-Quota-Threshold 180',
  'Time-Quota-Type CONTINUOUS_TIME_PERIOD (1)',
  'Trigger-Type CHANGE_IN_RAT (4)',
  'Validity-Time 300',
  'Value-Digits 25',
  'Volume-Quota-Threshold 2097152',
]

async function gatewayOver(t: Test, scenario: Scenario, { port }: Wire, originHost: string): Promise<Gateway> {
  const onRequest = () => ({ resultCode: 2002 })
  const gateway = await scenario.gateway(t, { originHost, daemons: [], onRequest })
  await gateway.connect({ host: '127.0.0.1', port })
  return gateway
}

/** A session: what it is granted is used, it asks again, is recharged (RAR where there was nothing), and suspended (ASR). */
async function usedUpAndRecharged(
  t: Test,
  scenario: Scenario,
  gateway: Gateway,
  story: {
    offer: string
    service: keyof typeof context
    ratingGroups: readonly (number | undefined)[]
    money: string
  },
): Promise<void> {
  const { offer, service, ratingGroups, money } = story
  const subject = await scenario.subject(t, { money, offer })
  const talk = new Talk(gateway, [subject.id], { serviceContextId: context[service] })
  const requested: UnitAmounts = service === 'shop' ? { money: 10_000n, currency: 978 } : {}
  const ask = (parts: Partial<ServiceInput> = {}): ServiceInput[] =>
    ratingGroups.map(ratingGroup => ({ ...(ratingGroup !== undefined && { ratingGroup }), requested, ...parts }))
  const chargingId: Partial<CcrInput> = {
    more: [['Service-Information', [['PS-Information', [['3GPP-Charging-Id', Buffer.from('12345678', 'hex')]]]]]],
  }
  const opened = await talk.initial(ask(), chargingId)
  if (!t.equal(opened.resultCode, 2001, `${offer}: ${opened.text('Error-Message') ?? 'opened'}`)) return
  const used = (): ServiceInput[] =>
    linesOf(opened)
      .filter(({ octets, seconds }) => octets !== undefined || seconds !== undefined)
      .map(({ ratingGroup, octets, seconds }) => ({
        ...(ratingGroup !== undefined && { ratingGroup }),
        requested,
        used: [octets !== undefined ? { octets, reason: 3 } : { seconds: seconds!, reason: 3 }],
      }))
  await talk.update(1, used())
  await talk.update(2, ask())
  await subject.recharge('0.05')
  await talk.update(3, ask())
  const changes: Partial<CcrInput> = { information: { rat: 1, plmn: '26201' } }
  await talk.update(4, ask(), changes)
  await subject.setStatus('suspended')
  if ((await subject.openSessions()) > 0) {
    await until('it is asked to end', async () =>
      (await subject.sessions()).every(({ asked }) => asked?.command === 'ASR'),
    )
  }
  await talk.terminate(5)
}
