/** What gateways may ask, in all its forms, over real sockets: identities, units, lines, conditions, and money that comes back. */
import t from 'tap'
import type { CcrInput, ServiceInput } from '../../src/simulator/ccr.js'
import { failedAvps, lineOf, linesOf, MiB, startScenario, Talk, type AnsweredLine } from '../support/scenario.js'

const scenario = await startScenario(t)
const gateway = await scenario.gateway(t)
const ask = { requested: {} }
const tenMiB = { code: 2001, octets: 10n * MiB, validity: 3600 }

t.test('a subscriber is known by any of its identities, in any order', async t => {
  await scenario.subject(t, {
    identities: [
      { type: 'msisdn', value: '447700900777' },
      { type: 'imsi', value: '234150000000777' },
      { type: 'nai', value: 'alice@nai.example.net' },
    ],
  })
  const msisdn = ['e164', '447700900777'] as const
  const imsi = ['imsi', '234150000000777'] as const
  const nai = ['nai', 'alice@nai.example.net'] as const
  const stranger = ['imsi', '999990000000000'] as const
  const table: [string, NonNullable<CcrInput['subscriptionIds']>][] = [
    ['MSISDN', [msisdn]],
    ['MSISDN with +', [['e164', '+447700900777']]],
    ['IMSI', [imsi]],
    ['NAI', [nai]],
    ['IMSI first', [imsi, msisdn]],
    ['IMSI last', [msisdn, imsi]],
    ['all three', [nai, imsi, msisdn]],
    ['an unknown one first', [stranger, msisdn]],
    ['an unknown one last', [imsi, stranger]],
  ]
  for (const [name, who] of table) {
    const session = new Talk(gateway, who)
    t.equal((await session.initial([{ ratingGroup: 10, ...ask }])).resultCode, 2001, name)
    t.equal((await session.terminate(1)).resultCode, 2001, name)
  }
})

t.test('CC-141: identities of two accounts contradict each other, and nothing is changed', async t => {
  const a = await scenario.subject(t)
  const b = await scenario.subject(t)
  const answer = await new Talk(gateway, [a.id, b.id]).initial([{ ratingGroup: 10, ...ask }])
  t.equal(answer.resultCode, 5007)
  t.same(
    failedAvps(answer).filter(avp => avp.includes('Data')),
    [a, b].map(({ account }) => `Subscription-Id/Subscription-Id-Data=${account}`),
    'both are in Failed-AVP',
  )
  for (const each of [a, b]) {
    await each.is(t, { bal: '10.00', res: '0.00' }, 'unchanged')
    t.same(await each.sessions(), [])
  }
})

t.test('units at command level, for a gateway without MSCC', async t => {
  const alice = await scenario.subject(t)
  const session = new Talk(gateway, [alice.id])
  const first = await session.initial([], { units: ask, multipleServicesIndicator: 0 })
  t.match(lineOf(first), tenMiB)
  t.same(linesOf(first), [], 'no MSCC in the answer')
  await alice.is(t, { bal: '10.00', res: '0.10' }, 'granted')
  const second = await session.update(1, [], { units: { ...ask, used: [{ octets: 4n * MiB }] } })
  t.match(lineOf(second), tenMiB)
  await alice.is(t, { bal: '9.96', res: '0.10' }, 'reported')
  t.equal((await session.terminate(2, [], { units: { used: [{ octets: 1n }] } })).resultCode, 2001)
  await alice.is(t, { bal: '9.95', res: '0.00' }, 'ended')
})

t.test('Multiple-Services-Indicator does not matter, nor does an MSCC without Rating-Group', async t => {
  for (const multipleServicesIndicator of [undefined, 0, 1] as const) {
    for (const ratingGroup of [undefined, 10]) {
      const alice = await scenario.subject(t)
      const session = new Talk(gateway, [alice.id])
      const input: Partial<Record<keyof CcrInput, unknown>> = session.input('initial', 0, [
        { ...(ratingGroup !== undefined && { ratingGroup }), ...ask },
      ])
      if (multipleServicesIndicator === undefined) delete input.multipleServicesIndicator
      else input.multipleServicesIndicator = multipleServicesIndicator
      const answer = await session.ask(input as CcrInput)
      const name = `MSI ${multipleServicesIndicator ?? 'absent'}, rating group ${ratingGroup ?? 'none'}`
      t.same(linesOf(answer), [{ ...(ratingGroup !== undefined && { ratingGroup }), ...tenMiB }], name)
      await alice.is(t, { res: '0.10' }, name)
      await session.terminate(1)
    }
  }
})

t.test('what is asked bounds the grant, and no request grants nothing', async t => {
  const alice = await scenario.subject(t)
  const table: [string, ServiceInput['requested'], bigint | undefined, string][] = [
    ['empty: the quota', {}, 10n * MiB, '0.10'],
    ['less than the quota', { octets: 5n * MiB }, 5n * MiB, '0.05'],
    ['a part of a step: the whole step is held', { octets: 5_000_000n }, 5_000_000n, '0.05'],
    ['more than the quota', { octets: 500n * MiB }, 10n * MiB, '0.10'],
    ['less than the least', { octets: 1n }, MiB, '0.01'],
    ['zero is no bound', { octets: 0n }, 10n * MiB, '0.10'],
    ['input and output', { inputOctets: MiB, outputOctets: 2n * MiB }, 3n * MiB, '0.03'],
    ['absent', undefined, undefined, '0.00'],
  ]
  for (const [name, requested, granted, res] of table) {
    const session = new Talk(gateway, [alice.id])
    const answer = await session.initial([{ ratingGroup: 10, ...(requested && { requested }) }])
    t.same([answer.resultCode, linesOf(answer)[0]?.octets], [2001, granted], name)
    await alice.is(t, { bal: '10.00', res }, name)
    await session.terminate(1)
  }
  const none = new Talk(gateway, [alice.id])
  t.equal((await none.initial([])).resultCode, 2001, 'a CCR-I without any units opens the session')
  t.equal((await none.terminate(1)).resultCode, 2001)
})

t.test('usage is read in all its forms', async t => {
  const table: [string, ServiceInput['used'], string][] = [
    ['total', [{ octets: 10n * MiB }], '9.90'],
    ['input and output', [{ inputOctets: 4n * MiB, outputOctets: 6n * MiB }], '9.90'],
    ['CC-049: the total wins', [{ octets: 10n * MiB, inputOctets: 4n * MiB, outputOctets: 6n * MiB }], '9.90'],
    ['several', [{ octets: 3n * MiB }, { octets: 3n * MiB }, { inputOctets: 4n * MiB }], '9.90'],
    ['zero', [{ octets: 0n }], '10.00'],
    ['empty', [{}], '10.00'],
    ['CC-046: more than was granted', [{ octets: 12n * MiB }], '9.88'],
    ['CC-048: seconds cost nothing here', [{ octets: 10n * MiB, seconds: 500 }], '9.90'],
    ['one octet: a started step', [{ octets: 1n }], '9.99'],
  ]
  for (const [name, used, bal] of table) {
    const alice = await scenario.subject(t)
    const session = new Talk(gateway, [alice.id])
    await session.initial([{ ratingGroup: 10, ...ask }])
    const answer = await session.update(1, [{ ratingGroup: 10, ...ask, ...(used && { used }) }])
    t.same(linesOf(answer), [{ ratingGroup: 10, ...tenMiB }], name)
    await alice.is(t, { bal, res: '0.10' }, name)
    await session.terminate(2)
  }
})

t.test('64 bit: five gigabytes and more are exact, and too much is refused', async t => {
  const alice = await scenario.subject(t, { money: '1000.00' })
  const session = new Talk(gateway, [alice.id])
  await session.initial([{ ratingGroup: 10, ...ask }])
  await session.update(1, [{ ratingGroup: 10, ...ask, used: [{ octets: 5_000n * MiB }] }])
  await alice.is(t, { bal: '950.00' }, '5,000 MiB')
  const [line] = (await alice.sessions())[0]!.lines
  t.equal(line?.used, 5_000n * MiB)
  const much = await session.update(2, [{ ratingGroup: 10, ...ask, used: [{ octets: 2n ** 63n }] }])
  t.equal(much.resultCode, 5004)
  t.match(failedAvps(much), [/CC-Total-Octets=9223372036854775808$/])
  const together = await session.update(2, [{ ratingGroup: 10, ...ask, used: [{ octets: 100_000_000_000_000n }] }])
  t.equal(together.resultCode, 5004, 'with what it had before, more than a line may carry')
  await alice.is(t, { bal: '950.00', res: '0.10' }, 'refusals change nothing')
})

t.test('3GPP-016: after a THRESHOLD report the rest of the old grant stays covered', async t => {
  const alice = await scenario.subject(t, { offer: 'flows-threshold' })
  const session = new Talk(gateway, [alice.id])
  const first = await session.initial([{ ratingGroup: 10, ...ask }])
  t.equal(linesOf(first)[0]?.threshold, Number((10n * MiB) / 5n))
  await session.update(1, [{ ratingGroup: 10, ...ask, used: [{ octets: 8n * MiB, reason: 0 }] }])
  await alice.is(t, { bal: '9.92', res: '0.12' }, '2 MiB of the old one and 10 of the new')
  await session.update(2, [{ ratingGroup: 10, ...ask, used: [{ octets: 10n * MiB, reason: 3 }] }])
  await alice.is(t, { bal: '9.82', res: '0.10' }, 'until the next report')
})

t.test('CC-053: three lines in, three MSCCs out, each with its own key', async t => {
  const alice = await scenario.subject(t)
  const session = new Talk(gateway, [alice.id])
  const answer = await session.initial([
    { ratingGroup: 10, ...ask },
    { ratingGroup: 10, serviceIdentifiers: [7, 3], ...ask },
    { ...ask },
  ])
  t.same(linesOf(answer), [
    { ratingGroup: 10, ...tenMiB },
    { ratingGroup: 10, serviceIdentifiers: [7, 3], ...tenMiB },
    { ...tenMiB },
  ])
  await alice.is(t, { res: '0.30' }, 'three quotas')
  const reported = await session.update(1, [{ ratingGroup: 10, serviceIdentifiers: [7, 3], used: [{ octets: MiB }] }])
  t.same(
    linesOf(reported),
    [{ ratingGroup: 10, serviceIdentifiers: [7, 3], code: 2001 }],
    'CC-063: only that one closes',
  )
  await alice.is(t, { bal: '9.99', res: '0.20' }, 'the others keep theirs')
})

t.test('CC-054: the same rating group twice is one line, usages summed', async t => {
  const alice = await scenario.subject(t)
  const session = new Talk(gateway, [alice.id])
  await session.initial([{ ratingGroup: 10, ...ask }])
  const twice = { ratingGroup: 10, ...ask, used: [{ octets: 2n * MiB }] }
  t.same(linesOf(await session.update(1, [twice, twice])), [{ ratingGroup: 10, ...tenMiB }])
  await alice.is(t, { bal: '9.96', res: '0.10' }, 'summed')
})

t.test('rules that are not about money: free, denied, unknown', async t => {
  const table: [name: string, ratingGroup: number, line: AnsweredLine, failed: string[]][] = [
    ['free', 30, { code: 2001, octets: 100n * MiB, validity: 3600 }, []],
    ['free, to stop asking', 31, { code: 4011 }, []],
    ['denied', 40, { code: 4010 }, []],
    ['denied for good', 41, { code: 5003 }, []],
    ['no rule', 999, { code: 5031 }, ['Multiple-Services-Credit-Control/Rating-Group=999']],
  ]
  for (const [name, ratingGroup, line, failed] of table) {
    const alice = await scenario.subject(t)
    const alone = new Talk(gateway, [alice.id])
    const first = await alone.initial([{ ratingGroup, ...ask }])
    t.equal(first.resultCode, line.code, `${name}: alone, at command level`)
    t.same(failedAvps(first), failed, `${name}: what it points at`)
    t.equal(await alice.openSessions(), line.code === 2001 ? 1 : 0, `${name}: a session only with a grant`)
    await alice.is(t, { bal: '10.00', res: '0.00' }, `${name}: nothing is held`)

    const beside = await new Talk(gateway, [alice.id]).initial([
      { ratingGroup: 10, ...ask },
      { ratingGroup, ...ask },
    ])
    t.same(
      [beside.resultCode, linesOf(beside)],
      [
        2001,
        [
          { ratingGroup: 10, ...tenMiB },
          { ratingGroup, ...line },
        ],
      ],
      `${name}: beside another, in its MSCC`,
    )
    t.same(failedAvps(beside), failed)
  }
})

t.test('CC-064: units that the service is not sold in are unrated', async t => {
  const alice = await scenario.subject(t)
  const answer = await new Talk(gateway, [alice.id]).initial([{ ratingGroup: 10, requested: { events: 1n } }])
  t.equal(answer.resultCode, 5031)
  await alice.is(t, { bal: '10.00', res: '0.00' }, 'nothing held')
})

t.test('CC-006, CC-148: a suspended account ends its session; what was used is debited', async t => {
  const alice = await scenario.subject(t)
  const session = new Talk(gateway, [alice.id])
  await session.initial([
    { ratingGroup: 10, ...ask },
    { ratingGroup: 20, ...ask },
  ])
  await alice.is(t, { res: '0.30' }, 'open')
  await alice.setStatus('suspended')
  const answer = await session.update(1, [{ ratingGroup: 10, ...ask, used: [{ octets: MiB }] }])
  t.same([answer.resultCode, linesOf(answer)], [4010, []])
  await alice.is(t, { bal: '9.99', res: '0.00' }, 'debited, and everything given back')
  t.equal(await alice.openSessions(), 0, 'session gone')
  t.equal((await new Talk(gateway, [alice.id]).initial([{ ratingGroup: 10, ...ask }])).resultCode, 4010, 'no new one')
  await alice.setStatus('active')
  t.equal((await session.terminate(2)).resultCode, 5002, 'it does not come back')
})

t.test('a terminated account is nobody', async t => {
  const alice = await scenario.subject(t)
  await alice.setStatus('terminated')
  t.equal((await new Talk(gateway, [alice.id]).initial([{ ratingGroup: 10, ...ask }])).resultCode, 5030)
})

t.test('a recharge lets the next CCR-U go on', async t => {
  const alice = await scenario.subject(t, { money: '0.05' })
  const session = new Talk(gateway, [alice.id])
  t.match(linesOf(await session.initial([{ ratingGroup: 10, ...ask }])), [{ octets: 5n * MiB, final: 0 }])
  const empty = await session.update(1, [{ ratingGroup: 10, ...ask, used: [{ octets: 5n * MiB, reason: 3 }] }])
  t.same(linesOf(empty), [{ ratingGroup: 10, code: 4012 }])
  await alice.recharge('1.00')
  t.same(linesOf(await session.update(2, [{ ratingGroup: 10, ...ask }])), [{ ratingGroup: 10, ...tenMiB }])
  await alice.is(t, { bal: '1.00', res: '0.10' }, 'goes on')
})

t.test('a recharge repays what was overrun first', async t => {
  const alice = await scenario.subject(t, { money: '0.03' })
  const session = new Talk(gateway, [alice.id])
  await session.initial([{ ratingGroup: 10, ...ask }])
  const answer = await session.update(1, [{ ratingGroup: 10, ...ask, used: [{ octets: 5n * MiB, reason: 3 }] }])
  t.same([answer.resultCode, linesOf(answer)], [2001, [{ ratingGroup: 10, code: 4012 }]])
  await alice.is(t, { bal: '0.00', debt: '0.02', res: '0.00' }, 'two MiB too many')
  await alice.recharge('1.00')
  await alice.is(t, { bal: '0.98', debt: '0.00' }, 'repaid first')
})

t.test('the credit limit lets money go below zero, and no further', async t => {
  const alice = await scenario.subject(t, { money: '0.02', creditLimit: '0.05' })
  const session = new Talk(gateway, [alice.id])
  t.match(linesOf(await session.initial([{ ratingGroup: 10, ...ask }])), [{ octets: 7n * MiB, final: 0 }])
  const answer = await session.update(1, [{ ratingGroup: 10, ...ask, used: [{ octets: 7n * MiB, reason: 3 }] }])
  t.same(linesOf(answer), [{ ratingGroup: 10, code: 4012 }])
  await alice.is(t, { bal: '-0.05', res: '0.00', debt: '0.00' }, 'at the limit')
})

t.test('a bucket pays first, then money, in one grant and in one report', async t => {
  const alice = await scenario.subject(t, { offer: 'flows-bundle', money: '1.00' })
  const session = new Talk(gateway, [alice.id])
  await session.initial([{ ratingGroup: 10, ...ask }])
  await alice.is(t, { bal: '1.00', res: '0.00', buckets: [[30n * MiB, 10n * MiB]] }, 'the bucket holds')
  await session.update(1, [{ ratingGroup: 10, ...ask, used: [{ octets: 24n * MiB }] }])
  await alice.is(t, { bal: '1.00', res: '0.04', buckets: [[6n * MiB, 6n * MiB]] }, '6 MiB of it, the rest money')
  await session.terminate(2, [{ ratingGroup: 10, used: [{ octets: 9n * MiB }] }])
  await alice.is(t, { bal: '0.97', res: '0.00', buckets: [[0n, 0n]] }, 'three MiB of money')
})

t.test('worked example 20: two rating groups share the last money, and both are final', async t => {
  const alice = await scenario.subject(t, { money: '0.30' })
  const answer = await new Talk(gateway, [alice.id]).initial([
    { ratingGroup: 10, ...ask },
    { ratingGroup: 20, ...ask },
  ])
  t.same(
    linesOf(answer).map(({ octets, final }) => [octets, final]),
    Array(2).fill([10n * MiB, 0]),
  )
  await alice.is(t, { bal: '0.30', res: '0.30' }, 'nothing is free')
})

t.test('all answers', t => {
  scenario.checkAnswers(t)
  t.end()
})
