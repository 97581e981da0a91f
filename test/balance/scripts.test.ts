/**
 * What every script of lua/ promises: its header names what its body uses, it may be run again, and where anything is wrong it
 * leaves the data as they were (Redis takes no write back). A new script must be added to the table, or a test fails.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { Redis } from 'ioredis'
import t from 'tap'
import {
  accountKey,
  consumersKey,
  deadEventsKey,
  feedKey,
  feedPositionsKey,
  watchesKey,
  webhookKey,
  webhookLeaseKey,
  webhookParkedKey,
  webhookReplayKey,
  identityKey,
  apiKeysKey,
  publicationsKey,
  censusKey,
  dueKey,
  endedKey,
  idempotencyKey,
  journalKey,
  paymentKey,
  onceKey,
  referenceKey,
  refundedKey,
  sessionKey,
  transferKey,
  virtualTimeKey,
  voucherBarredKey,
  voucherBatchKey,
  voucherGuessKey,
  voucherReportKey,
  voucherSerialsKey,
} from '../../src/balance/keys.js'
import { loadScripts } from '../../src/balance/scripts.js'
import { aProgram } from '../support/charging.js'
import { startStore } from '../support/store.js'

const { store } = await startStore(t, { settings: { 'enable-debug-command': 'local' } })
const { redis } = store
const scripts = loadScripts()
const folder = new URL('../../lua/', import.meta.url)
const textOf = (name: string): string => readFileSync(new URL(`${name}.lua`, folder), 'utf8')

// What each script is called with: p is a partition of its own.

const now = Date.now()
const keys = {
  account: accountKey(3, 'alice'),
  session: sessionKey(3, 'gw;1;1'),
  opened: sessionKey(3, 'gw;1;2'),
  due: dueKey(3),
  journal: journalKey(3),
  ended: endedKey(3, Math.floor(now / 3_600_000)),
  earlier: endedKey(3, Math.floor(now / 3_600_000) - 1),
  once: onceKey(3, 'recharge:test:1'),
  census: censusKey(3),
  documents: apiKeysKey,
  publications: publicationsKey,
  payment: paymentKey(3, 'p1'),
  refunded: refundedKey(3, 'debit'),
  answer: idempotencyKey('care', 'k-1'),
  feed: feedKey,
  positions: feedPositionsKey,
  watches: watchesKey(3),
  consumers: consumersKey(3),
  webhook: webhookKey('crm'),
  webhookLease: webhookLeaseKey('crm'),
  parked: webhookParkedKey('crm'),
  replay: webhookReplayKey('crm'),
  dead: deadEventsKey,
  reference: referenceKey('test', '1'),
  virtualTime: virtualTimeKey,
  identities: identityKey({ type: 'msisdn', value: '491701000001' }).key,
  transfer: transferKey(3, '3-x'),
  batch: voucherBatchKey('12'),
  serials: voucherSerialsKey('12', 345),
  barred: voucherBarredKey('12', '3f2a'),
  report: voucherReportKey('12'),
  guesser: voucherGuessKey('account-alice'),
  principal: voucherGuessKey('principal-portal'),
  outlet: voucherGuessKey('outlet-kiosk'),
}
type Key = keyof typeof keys
const program = aProgram({ step: 100n, num: 10n, buckets: ['data'] })

const offer = (until: number, words = '', line = '', due = ''): string[] => [
  'test',
  '3f2a',
  line,
  due,
  due,
  '1',
  'data',
  'octets',
  '500',
  String(until),
  '10',
  words,
]
const create = (until = now + 60_000, words = '', line = '', due = ''): Call => ({
  script: 'create',
  keys: ['account', 'due', 'journal', 'census'],
  args: [
    'alice',
    'active',
    'EUR',
    '0',
    '1000000',
    String(now - 10_000),
    'source:admin',
    '"kind":"create"',
    'nai:alice@test',
    '{"attributes":{"segment":"vip"}}',
    '1',
    ...offer(until, words, line, due),
  ],
})
const lifeTerms = 'start=any first=60000 grace=60000 service=none forfeit=1 debt=wait quarantine=60000'
function aLife(phase: string, end: number): Call {
  const made = create()
  const life = `${phase} since 1 end ${end} told 0 hand 0 rule prepaid terms ${lifeTerms}`
  return { ...made, args: made.args.map((arg, i) => (i === 1 ? life : arg)) }
}
function charge(type: 'I' | 'U' | 'T' | 'E', number: number, at = now, searchEnded = false): Call {
  return {
    script: 'charge',
    keys: ['account', 'session', 'due', 'journal', 'ended', ...(searchEnded ? (['earlier'] as const) : [])],
    args: [
      `${type} ${number} content${number} ${now + 600_000} ${at} ${at} alice 1 1 EUR mark -`,
      'gw;1;1',
      `"kind":"charge","number":${number}`,
      '2 3600000 600000 86400000 -',
      `${at} gw`,
      '',
      '',
      `10 ${number === 0 || type === 'E' ? '0' : '300'} ${type === 'T' ? '-' : '1000'} -\nnow ${program}`,
    ],
  }
}

/** Of 40 units that a rate and the bucket 1-1 had paid. */
const refund: Call = {
  script: 'refund',
  keys: ['account', 'session', 'journal', 'due', 'refunded'],
  args: [
    `0 content ${now + 600_000} ${now} ${now} alice 1 EUR`,
    '86400000 2592000000',
    '"kind":"refund","number":0',
    'gw example gw data',
    `10 20 octets 0,0,none\nof 40 ${now + 60_000} data debit\nrate 9f8e,0,1,1,0,0,-,f,1,u,-,g 0,0,0,10,1\n` +
      `counters -\npaid 1-1:30:30,rate:10:100:9f8e:0:1:-:0,main::100`,
  ],
}

const line = (until: number, status = 'active'): string =>
  `${status} from 1 until ${until} anchor 1 index 0 every month paid 0 due ${until} try 0`
/** With a subscription whose period, and bucket, ended a moment ago. */
const bought = create(now - 1, 'roll=1,100,90000,5', line(now - 1), String(now - 1))
const step = (fee: string, standing: [string, string], buckets: [string, string], keep = ''): Call => ({
  script: 'step-subscription',
  keys: ['account', 'due', 'journal', 'census', 'once'],
  args: [
    ...['alice', '1', line(now - 1), '1', String(now), keep === '' ? '0' : '', keep, 'cancel', '', fee, '0', 'test'],
    ...[0, 1].map(i => {
      const ends = standing[i] === 'out' ? '' : line(now + 90_000, i === 0 ? 'active' : 'grace')
      const due = ends === '' ? '' : String(now + 90_000)
      return [`"kind":"step","try":${i}`, ends, standing[i]!, due, due, buckets[i]!].join('\n')
    }),
    '3f2a',
    ...offer(now + 90_000, 'remind=1000').slice(5),
  ],
})

const credit: Call = {
  script: 'credit',
  keys: ['account', 'once', 'journal', 'due', 'census'],
  args: [
    ...['alice', '5000', 'EUR', String(now), 'source:test', '"kind":"recharge"', '60000', 'test', '0 2 6000', '', ''],
    ...['0', '0'],
  ],
}

const publish = (from: string, to: string, ...events: string[]): Call => ({
  script: 'publish-events',
  keys: ['feed', 'positions'],
  args: ['3', from, to, String(events.length), ...events],
})

/** The first rule is for first recharges alone, the second brings money and a bucket. */
const creditWithBonus: Call = {
  ...credit,
  args: [
    ...credit.args.slice(0, -2),
    ...['1', 'gift', 'octets', '70', '0', '10', '', '2', 'first', '1', '0', '99', '0', 'plus', '0', '1', '500', '1'],
    ...['extra', 'money', '250', String(now + 60_000), '5', 'paid'],
  ],
}

const adjust = (target: string, unit: string, amount: string): string[] => [
  ...['alice', String(now), '"kind":"adjustment"', '60000', target, unit, amount, 'adjustment', '-', '0'],
]

const sendTransfer: Call = {
  script: 'send-transfer',
  keys: ['account', 'transfer', 'journal', 'due'],
  args: [
    ...['alice', '3-x', 'bob', '5000', '100', 'EUR', String(now), String(now + 30_000), '"kind":"transfer"'],
    ...['{"from":"alice","actor":"test"}', '0 1 5000', '999000'],
  ],
}

const batch: Call = {
  script: 'voucher-batch',
  keys: ['batch'],
  args: ['0', 'active', String(now + 60_000), '1-2,100-344', '{"name":"test"}'],
}

const claimStep = (step: string): Call => ({
  script: 'voucher-claim',
  keys: ['batch', 'serials', 'barred', 'report'],
  args: [step, '345', '3f2a', String(now), `alice 0 3f2a ${now} portal - tester`, '2026-11-22 -', '60000'],
})

const guessStep = (step: string): Call => ({
  script: 'voucher-guess',
  keys: ['guesser', 'principal', 'outlet'],
  args: [step, 'token', String(now), '1 100 10', '60000', '60000', '60000'],
})

interface Call {
  readonly script: string
  readonly keys: readonly Key[]
  readonly args: readonly string[]
}

/** `answers`: its reply when all is well, and when it is run again with the same key. */
interface Case {
  readonly name: string
  readonly before: readonly Call[]
  readonly call: Call
  readonly answers: readonly [RegExp, RegExp]
  /** What makes a second run harmless. */
  readonly key: string
}

const lifeCases: readonly Case[] = (
  [
    ['due', [/^done grace \d+$/, /^early$/], now - 1000, 'life alice'],
    ['used', [/^done active \d+$/, /^gone$/], 0, 'life alice used'],
    ['terminate', [/^done terminated \d+$/, /^over$/], 0, ''],
  ] as const
).map(([step, answers, end, member]) => ({
  name: `life, ${step}`,
  before: [aLife(step === 'used' ? 'created' : 'active', end)],
  call: {
    script: 'life',
    keys: ['account', 'due', 'journal', 'census'],
    args: ['alice', step, String(now), '0', 'prepaid', lifeTerms, 'forfeit', '"actor":"life"', member],
  },
  answers,
  key: 'the phase and its end',
}))

const cases: readonly Case[] = [
  {
    name: 'create',
    before: [],
    call: create(),
    answers: [/^created 1 1$/, /^exists 1 1$/],
    key: 'account, identities',
  },
  {
    name: 'account-status',
    before: [create()],
    call: {
      script: 'account-status',
      keys: ['account', 'journal', 'due'],
      args: ['alice', 'suspended', String(now), '"kind":"status"', 'abort'],
    },
    answers: [/^changed$/, /^unchanged$/],
    key: 'the status itself',
  },
  {
    name: 'put-document',
    before: [],
    call: { script: 'put-document', keys: ['documents'], args: ['k1', '', '{"name":"shop"}'] },
    answers: [/^done$/, /^done$/],
    key: 'the text itself',
  },
  {
    name: 'publish-catalog',
    before: [],
    call: { script: 'publish-catalog', keys: ['publications'], args: ['', 'p1', '{"number":1}', 'texts', '50'] },
    answers: [/^done$/, /^done$/],
    key: 'the id of the publication',
  },
  {
    name: 'put-payment',
    before: [],
    call: {
      script: 'put-payment',
      keys: ['payment', 'due'],
      args: ['', '{"id":"p1"}', 'payment alice p1', '1000', '86400000'],
    },
    answers: [/^done$/, /^done$/],
    key: 'the text itself',
  },
  ...lifeCases,
  {
    name: 'move-clock',
    before: [],
    call: { script: 'move-clock', keys: ['virtualTime'], args: ['0', '86400000', 'token'] },
    answers: [/^done 86400000$/, /^done 86400000$/],
    key: 'ARGV[3] token',
  },
  {
    name: 'credit',
    before: [create()],
    call: credit,
    answers: [/^credited 1005000 0 2 \d+ - 0 -$/, /^repeated 1005000 0 2 \d+ - 0 -$/],
    key: 'KEYS[2] once',
  },
  {
    name: 'refund',
    before: [create()],
    call: refund,
    answers: [
      /^new -100 0 ok -100 1000100 10=granted,20,0,0,octets,0,0,none $/,
      /^again 0 0 ok -100 1000100 10=granted,20/,
    ],
    key: 'session, number',
  },
  {
    name: 'charge, event',
    before: [create()],
    call: charge('E', 0),
    answers: [
      /^new 50 0 ok 50 999950 10=granted,1000,\S+ 1-1:500:500,rate:500:50:/,
      /^again 0 0 ok 50 999950 10=granted,1000/,
    ],
    key: 'session, number',
  },
  {
    name: 'charge, CCR-I',
    before: [create()],
    call: charge('I', 0),
    answers: [/^new 0 0 ok 0 1000000 10=granted,1000/, /^again 0 0 ok 0 1000000 10=granted,1000/],
    key: 'session, number',
  },
  {
    name: 'charge, CCR-U',
    before: [create(), charge('I', 0)],
    call: charge('U', 1),
    answers: [/^new 0 0 ok/, /^again 0 0 ok/],
    key: 'session, number',
  },
  {
    name: 'charge, CCR-T',
    before: [create(), charge('I', 0)],
    call: charge('T', 1),
    answers: [/^new 0 0 ok/, /^again 0 0 ok/],
    key: 'session, number',
  },
  {
    name: 'charge, late',
    before: [create(), charge('I', 0), charge('T', 2)],
    call: charge('U', 1),
    answers: [/^reordered 10 0 ended|^reordered \d+ 0 ended/, /^again 0 0 ended/],
    key: 'session, number',
  },
  {
    name: 'expire-session',
    before: [create(), charge('I', 0, now - 20_000_000)],
    call: {
      script: 'expire-session',
      keys: ['account', 'session', 'due', 'journal'],
      args: [String(now), '0', 'alice', 'gw;1;1', '60000', '', 'sweeper'],
    },
    answers: [/^silent$/, /^closed$/],
    key: 'session, its end',
  },
  {
    name: 'expire-bucket',
    before: [create(now - 1)],
    call: {
      script: 'expire-bucket',
      keys: ['account', 'due', 'journal', 'census'],
      args: [String(now), '0', 'alice', '1-1', 'bucket alice 1-1', ''],
    },
    answers: [/^expired$/, /^gone$/],
    key: 'bucket, its end',
  },
  {
    name: 'expire-bucket, rolling over',
    before: [create(now - 1, 'paid warn=400.100 roll=100,300,60000,5')],
    call: {
      script: 'expire-bucket',
      keys: ['account', 'due', 'journal', 'census'],
      args: [String(now), '0', 'alice', '1-1', 'bucket alice 1-1', ''],
    },
    answers: [/^expired$/, /^gone$/],
    key: 'bucket, its end',
  },
  {
    name: 'buy-offer',
    before: [create()],
    call: {
      script: 'buy-offer',
      keys: ['account', 'due', 'journal', 'census', 'once'],
      args: ['alice', String(now), '"kind":"subscribe"', '1', '1', '60000', '400', ...offer(now + 60_000, 'blocker')],
    },
    answers: [/^subscribed test 1 2$/, /^repeated test 1 2$/],
    key: 'KEYS[5] once',
  },
  {
    name: 'step-subscription, renewing',
    before: [bought],
    call: step('10', ['paused', 'in'], ['ended', 'ended']),
    answers: [/^done$/, /^moved$/],
    key: 'line and rev',
  },
  {
    name: 'step-subscription, beyond the money',
    before: [bought],
    call: step('1000001', ['in', 'paused'], ['ended', 'ended']),
    answers: [/^failed$/, /^moved$/],
    key: 'line and rev',
  },
  {
    name: 'step-subscription, ending with a session open',
    before: [bought, charge('I', 0)],
    call: step('0', ['out', ''], ['all', 'keep'], '60000'),
    answers: [/^done due$/, /^repeated cancel$/],
    key: 'KEYS[5] once',
  },
  {
    name: 'remind-bucket',
    before: [create(now + 60_000, 'remind=90000.30000')],
    call: {
      script: 'remind-bucket',
      keys: ['account', 'due', 'journal'],
      args: [String(now), '0', 'alice', '1-1', 'remind alice bucket:1-1'],
    },
    answers: [/^told$/, /^early$/],
    key: 'the times that are left',
  },
  {
    name: 'account-extras',
    before: [create()],
    call: {
      script: 'account-extras',
      keys: ['account', 'journal', 'due'],
      args: ['alice', '1', '{"attributes":{"segment":"gold"}}', String(now), '"kind":"attributes"'],
    },
    answers: [/^changed 2$/, /^moved$/],
    key: 'the rev that it was made from',
  },
  {
    name: 'account-status, with a session open',
    before: [create(), charge('I', 0)],
    call: {
      script: 'account-status',
      keys: ['account', 'journal', 'due'],
      args: ['alice', 'suspended', String(now), '"kind":"status"', 'abort'],
    },
    answers: [/^changed due$/, /^unchanged$/],
    key: 'the status itself',
  },
  {
    name: 'credit, with a session open',
    before: [create(), charge('I', 0)],
    call: credit,
    answers: [/^credited 1005000 0 3 \d+ - 0 - due$/, /^repeated 1005000 0 3 \d+ - 0 -$/],
    key: 'KEYS[2] once',
  },
  {
    name: 'credit, with buckets and a bonus',
    before: [create(), { ...credit, keys: ['account', 'refunded', 'journal', 'due', 'census'] }],
    call: { ...creditWithBonus, args: creditWithBonus.args.with(1, '1000') },
    answers: [
      /^credited 1006500 0 3 \d+ plus 500 3-1=gift:octets:70,3-2=extra:money:250$/,
      /^repeated 1006500 0 3 \d+ plus 500 3-1=gift:octets:70,3-2=extra:money:250$/,
    ],
    key: 'KEYS[2] once',
  },
  {
    name: 'adjust, a bucket',
    before: [create()],
    call: {
      script: 'adjust',
      keys: ['account', 'once', 'journal', 'due', 'census'],
      args: adjust('name:data', 'octets', '-200'),
    },
    answers: [
      /^adjusted name:data -200 1000000 0 2 1-1=data:octets:300$/,
      /^repeated name:data -200 1000000 0 2 1-1=data:octets:300$/,
    ],
    key: 'KEYS[2] once',
  },
  {
    name: 'adjust, main, with a session open',
    before: [create(), charge('I', 0)],
    call: { script: 'adjust', keys: ['account', 'once', 'journal', 'due', 'census'], args: adjust('main', 'EUR', '5') },
    answers: [/^adjusted main 5 1000005 0 3 - due$/, /^repeated main 5 1000005 0 3 -$/],
    key: 'KEYS[2] once',
  },
  {
    name: 'adjust, a new bucket',
    before: [create()],
    call: {
      script: 'adjust',
      keys: ['account', 'once', 'journal', 'due', 'census'],
      args: [
        ...adjust('new', 'octets', '70').slice(0, -1),
        '1',
        'gift',
        'octets',
        '70',
        String(now + 60_000),
        '10',
        '',
      ],
    },
    answers: [/^adjusted new 70 1000000 0 2 2-1=gift:octets:70$/, /^repeated new 70 1000000 0 2 2-1=gift:octets:70$/],
    key: 'KEYS[2] once',
  },
  {
    name: 'send-transfer',
    before: [create()],
    call: sendTransfer,
    answers: [/^sent$/, /^known$/],
    key: 'KEYS[2] transfer',
  },
  {
    name: 'end-transfer, done',
    before: [create(), sendTransfer],
    call: {
      ...sendTransfer,
      script: 'end-transfer',
      args: ['alice', '3-x', 'done', '5', String(now), '60000', '"kind":"transfer"'],
    },
    answers: [/^done$/, /^ended$/],
    key: 'the state of the transfer',
  },
  {
    name: 'end-transfer, returned',
    before: [create(), sendTransfer],
    call: {
      ...sendTransfer,
      script: 'end-transfer',
      args: ['alice', '3-x', 'returned', 'terminated', String(now), '60000', '"kind":"transfer"'],
    },
    answers: [/^returned$/, /^ended$/],
    key: 'the state of the transfer',
  },
  {
    name: 'claim-reference, claiming',
    before: [],
    call: { script: 'claim-reference', keys: ['reference'], args: ['claim', 'alice 5000 EUR', '60000'] },
    answers: [/^claimed$/, /^claimed$/],
    key: 'the content',
  },
  {
    name: 'claim-reference, settling',
    before: [{ script: 'claim-reference', keys: ['reference'], args: ['claim', 'alice 5000 EUR', '60000'] }],
    call: { script: 'claim-reference', keys: ['reference'], args: ['settle', 'alice 5000 EUR', '60000'] },
    answers: [/^settled$/, /^settled$/],
    key: 'the content',
  },
  {
    name: 'account-profile',
    before: [create()],
    call: {
      script: 'account-profile',
      keys: ['account', 'journal', 'due', 'census'],
      args: [...['alice', '1', String(now), '"kind":"identities"', '1 removed', '', '', '1', '', 'reauth-all']],
    },
    answers: [/^changed 2$/, /^moved$/],
    key: 'the rev that it was made from',
  },
  {
    name: 'account-profile, with a session open',
    before: [create(), charge('I', 0)],
    call: {
      script: 'account-profile',
      keys: ['account', 'journal', 'due', 'census'],
      args: [
        ...[
          'alice',
          '1',
          String(now),
          '"kind":"identities"',
          '1 msisdn:491701',
          '1 test 5 1;2 new 6 1',
          '{}',
          '',
          'new',
          'reauth',
        ],
      ],
    },
    answers: [/^changed 2 due$/, /^moved$/],
    key: 'the rev that it was made from',
  },
  {
    name: 'settle-identity',
    before: [],
    call: { script: 'settle-identity', keys: ['identities'], args: ['02', 'alice', '1', ''] },
    answers: [/^done$/, /^done$/],
    key: 'the account and its subscriber',
  },
  {
    name: 'keep-answer, claiming',
    before: [],
    call: { script: 'keep-answer', keys: ['answer'], args: ['claim', 'print', 'try-1', '', '60000'] },
    answers: [/^claimed$/, /^claimed$/],
    key: 'the claimant',
  },
  {
    name: 'keep-answer, answering',
    before: [{ script: 'keep-answer', keys: ['answer'], args: ['claim', 'print', 'try-1', '', '60000'] }],
    call: { script: 'keep-answer', keys: ['answer'], args: ['answer', 'print', 'try-1', '{"status":201}', '60000'] },
    answers: [/^kept$/, /^answered \{"status":201\}$/],
    key: 'the first answer',
  },
  {
    name: 'refund, with a session open',
    before: [create(), { ...charge('I', 0), keys: ['account', 'opened', 'due', 'journal', 'ended'] }],
    call: refund,
    answers: [/^due new -100 0 ok -100 1000100 10=granted,20/, /^again 0 0 ok -100 1000100 10=granted,20/],
    key: 'session, number',
  },
  {
    name: 'due-turn, taking',
    before: [create(), charge('I', 0), credit],
    call: {
      script: 'due-turn',
      keys: ['due'],
      args: ['reauth alice', 'take', String(now), String(now + 10_000.25), ''],
    },
    answers: [/^taken$/, /^taken$/],
    key: 'the token',
  },
  {
    name: 'due-turn, putting',
    before: [create(), charge('I', 0), { ...credit, args: credit.args.with(3, String(now + 0.5)) }],
    call: { script: 'due-turn', keys: ['due'], args: ['reauth alice', 'put', '', String(now + 0.5), ''] },
    answers: [/^done$/, /^done$/],
    key: 'the token',
  },
  {
    name: 'ask-session, claiming',
    before: [create(), charge('I', 0)],
    call: {
      script: 'ask-session',
      keys: ['session'],
      args: ['claim', 'RAR', 'token', String(now), '35000', '1000,5000', ''],
    },
    answers: [/^claimed$/, /^claimed$/],
    key: 'the token',
  },
  {
    name: 'ask-session, noting',
    before: [
      create(),
      charge('I', 0),
      { script: 'ask-session', keys: ['session'], args: ['claim', 'RAR', 'token', '1', '2', '3,4', ''] },
    ],
    call: {
      script: 'ask-session',
      keys: ['session'],
      args: ['note', 'RAR', 'token', String(now), '', '', '2002'],
    },
    answers: [/^noted 2002 1$/, /^noted 2002 1$/],
    key: 'the token',
  },
  {
    name: 'publish-events',
    before: [],
    call: publish('0-0', '7-0', '{"id":"1"}', '{"id":"2"}'),
    answers: [/^done$/, /^7-0$/],
    key: 'the position of the partition',
  },
  {
    name: 'trim-feed',
    before: [publish('0-0', '7-0', '{"id":"1"}', '{"id":"2"}')],
    call: { script: 'trim-feed', keys: ['feed', 'positions'], args: ['5-0', '1', '100'] },
    answers: [/^1$/, /^0$/],
    key: 'what is there',
  },
  {
    name: 'note-watches',
    before: [],
    call: {
      script: 'note-watches',
      keys: ['watches', 'consumers'],
      args: ['events', '7-1', 'alice', '5000000 1', 'bob', ''],
    },
    answers: [/^noted$/, /^noted$/],
    key: 'the position',
  },
  {
    name: 'note-webhook',
    before: [],
    call: {
      script: 'note-webhook',
      keys: ['webhookLease', 'webhook', 'parked', 'replay', 'dead'],
      args: ['daemon', '10000', '7-0', '0', '2', '1', '0', 'alice', '{"attempts":1}', 'alice 1', '{"id":"1"}', 'bob 2'],
    },
    answers: [/^noted$/, /^noted$/],
    key: 'the lease; what is buried twice is delivered twice',
  },
  {
    name: 'note',
    before: [create()],
    call: {
      script: 'note',
      keys: ['account', 'once', 'journal'],
      args: ['alice', String(now), '"kind":"note"', '60000'],
    },
    answers: [/^noted 2$/, /^repeated 2$/],
    key: 'KEYS[2] once',
  },
  {
    name: 'voucher-batch',
    before: [],
    call: batch,
    answers: [/^changed 1$/, /^moved$/],
    key: 'the rev that it was made from',
  },
  {
    name: 'voucher-claim, claim',
    before: [batch],
    call: claimStep('claim'),
    answers: [/^yours$/, /^yours$/],
    key: 'serial, redemption',
  },
  {
    name: 'voucher-claim, use',
    before: [batch, claimStep('claim')],
    call: claimStep('use'),
    answers: [/^done$/, /^done$/],
    key: 'serial, redemption',
  },
  {
    name: 'voucher-claim, free',
    before: [batch, claimStep('claim')],
    call: claimStep('free'),
    answers: [/^freed$/, /^gone$/],
    key: 'serial, redemption',
  },
  {
    name: 'voucher-claim, settle',
    before: [batch],
    call: claimStep('settle'),
    answers: [/^gone$/, /^gone$/],
    key: 'serial, redemption',
  },
  {
    name: 'voucher-guess, try',
    before: [],
    call: guessStep('try'),
    answers: [/^ok$/, /^ok$/],
    key: 'the token',
  },
  {
    name: 'voucher-guess, wrong',
    before: [guessStep('try')],
    call: guessStep('wrong'),
    answers: [/^locked 1$/, /^ok$/],
    key: 'the token',
  },
]

/** Writes above the line *Write*: one after which nothing more is done. Everything else is a defect. */
const earlyWrites: Record<string, readonly string[]> = {
  charge: ['XADD', 'HSET'], // the usage of an unknown session is noted: it has no state that could be written
  'expire-session': ['ZREM', 'ZADD'], // `due` is put right
  'expire-bucket': ['ZREM', 'ZADD', 'ZREM', 'ZADD'],
  'step-subscription': ['ZREM', 'ZADD'],
  'remind-bucket': ['ZREM', 'ZADD'],
  credit: ['SET'], // a refusal that is to last
  'end-transfer': ['ZREM'], // `due` is put right
}

const run = ({ script, keys: names, args }: Call): Promise<unknown> =>
  redis.eval(scripts.get(script)!.lua, names.length, ...names.map(name => keys[name]), ...args)
const digest = (): Promise<unknown> => redis.call('DEBUG', 'DIGEST')

async function setUp(calls: readonly Call[]): Promise<void> {
  await redis.flushall()
  for (const call of calls) await run(call)
}

// What the texts say.

t.test('every script is in the table, with the key that makes it safe to repeat', t => {
  t.same([...new Set(cases.map(({ call }) => call.script))].sort(), [...scripts.keys()].sort())
  t.ok(cases.every(({ key }) => key !== ''))
  const plain = new Redis({ lazyConnect: true })
  for (const name of scripts.keys()) {
    const command = name.replaceAll(/-(\w)/g, (_, letter: string) => letter.toUpperCase())
    t.notOk(command in plain, `${command} is not something that the client has itself`)
  }
  t.end()
})

for (const name of scripts.keys()) {
  t.test(`lua/${name}.lua`, t => {
    const text = textOf(name)
    const [, header, body] = /^--\[\[\n(.*?)\n\]\]\n(.*)$/s.exec(text)!
    t.match(header, new RegExp(`^${name}: `), 'the header begins with its name')
    for (const list of ['KEYS', 'ARGV']) {
      const named = (part: string): number[] =>
        [...new Set([...part.matchAll(new RegExp(`${list}\\[(\\d+)\\]`, 'g'))].map(([, n]) => Number(n)))].sort(
          (a, b) => a - b,
        )
      t.same(named(header!), named(body!), `header and body name the same ${list}`)
      t.same(
        named(body!),
        named(body!).map((_, i) => i + 1),
        `no ${list} is left out`,
      )
    }
    const includes = [...text.matchAll(/^-- @include (\S+)$/gm)].map(([, include]) => include)
    t.equal(new Set(includes).size, includes.length, 'each include is named once')
    t.notMatch(scripts.get(name)!.lua, /@include/, 'each include is pasted')

    t.equal(body!.match(/^-- Read/m)?.length, 1, 'it reads')
    const parts = body!.split(/^-- Write\.$/m)
    t.equal(parts.length, 2, 'it writes in one place')
    const writes = (part: string): string[] =>
      [...part.matchAll(/redis\.call\('(\w+)'/g)]
        .map(([, command]) => command!)
        .filter(
          command => !/^(HGET|HMGET|HGETALL|GET|TIME|HLEN|ZCARD|ZSCORE|LLEN|XLEN|XRANGE|XREVRANGE)$/.test(command),
        )
    t.same(writes(parts[0]!), earlyWrites[name] ?? [], 'no write above the line')
    t.notMatch(parts[1]!.replace(/return [^\n]*\n*$/, ''), /\breturn\b/, 'no early return below the line')
    t.notMatch(
      text,
      /HINCRBY|tostring\(|cjson\.encode\((?!session_id|\{ (reply|account) =)/,
      'no number leaves by a way that keeps 14 digits',
    )
    t.same(globals(scripts.get(name)!.lua), [], 'nothing global is set')
    t.end()
  })
}

for (const file of readdirSync(new URL('include/', folder))) {
  t.test(`lua/include/${file}`, t => {
    const text = textOf(`include/${file.replace('.lua', '')}`)
    t.notMatch(text, /KEYS|ARGV|redis\.call/, 'an include knows no keys, arguments or Redis')
    t.notMatch(text, /@include/, 'an include includes nothing')
    const code = text.replaceAll(/--\[\[.*?\]\]/gs, '')
    // What is made only where it is needed fills names that are local already: `nothing global is set` above.
    const top = code.split('\n').filter(line => !/^(local |--|end$|\}|\s|$|if has_\w+ then$|for .* end$)/.test(line))
    t.same(top, [], 'all it defines is local')
    t.end()
  })
}

/** Names that a text assigns and never declares. Good enough for our own habits: `a, b = 1, 2` and `local a, b`. */
function globals(lua: string): string[] {
  const code = lua.replaceAll(/--\[\[.*?\]\]|--[^\n]*|'[^'\n]*'/gs, '')
  const names = (list: string): string[] => list.split(',').map(name => name.trim())
  const local = new Set([
    ...[...code.matchAll(/\blocal (?!function)([\w, ]+)/g)].flatMap(([, list]) => names(list!)),
    ...[...code.matchAll(/\bfunction \w*\(([\w, ]*)\)/g)].flatMap(([, list]) => names(list!)),
    ...[...code.matchAll(/\bfor ([\w, ]+) (?:in|=)/g)].flatMap(([, list]) => names(list!)),
    ...[...code.matchAll(/\blocal function (\w+)/g)].map(([, name]) => name!),
  ])
  const set = [...code.matchAll(/^\s*(?!local\b)(?:(?:then|do|else) )?([a-z_]\w*(?:, [a-z_]\w*)*) = /gm)].flatMap(
    ([, list]) => names(list!),
  )
  const functions = [...code.matchAll(/^\s*function (\w+)/gm)].map(([, name]) => name!)
  return [...functions, ...set].filter(name => !local.has(name))
}

t.test('Redis itself refuses a script that sets a global', async t => {
  await t.rejects(redis.eval('oops = 1', 0), /readonly|global/)
})

// What they do.

for (const { name, before, call, answers } of cases) {
  t.test(`${name}: run again with the same key it changes nothing`, async t => {
    await setUp(before)
    const untouched = await digest()
    t.match(await run(call), answers[0])
    const once = await digest()
    t.not(once, untouched, 'the first run wrote')
    t.match(await run(call), answers[1])
    t.equal(await digest(), once)
    const { lua, sha } = scripts.get(call.script)!
    t.equal(await redis.script('LOAD', lua), sha, 'the digest that is logged is the one that Redis knows')
  })

  t.test(`${name}: what it cannot use it refuses before it writes`, async t => {
    const refusedOrWhole = async (what: string, prepare: () => Promise<unknown>, changed: Call): Promise<void> => {
      await setUp(before)
      await prepare()
      const untouched = await digest()
      try {
        await run(changed)
      } catch {
        t.equal(await digest(), untouched, `${what}: refused, and nothing is written`)
      }
    }
    for (const key of call.keys) {
      for (const type of ['string', 'list'] as const) {
        const spoil = async (): Promise<void> => {
          await redis.del(keys[key])
          if (type === 'string') await redis.set(keys[key], 'not ours')
          else await redis.lpush(keys[key], 'not ours')
        }
        await refusedOrWhole(`${key} is a ${type}`, spoil, call)
      }
    }
    for (const i of call.args.keys()) {
      for (const wrong of ['', 'x!', '-', '1 2 3']) {
        const args = call.args.with(i, wrong)
        await refusedOrWhole(`ARGV[${i + 1}] is '${wrong}'`, () => Promise.resolve(), { ...call, args })
      }
    }
    for (let count = 0; count < call.args.length; count++) {
      await refusedOrWhole(`only ${count} arguments`, () => Promise.resolve(), {
        ...call,
        args: call.args.slice(0, count),
      })
    }
  })

  t.test(`${name}: without its account nothing is written`, async t => {
    if (call.script === 'create') return t.pass('create makes it')
    if (call.script === 'put-payment') return t.pass('whose account it is the caller has looked at')
    if (!call.keys.includes('account') && !call.keys.includes('due')) return t.pass('it knows no account')
    await setUp(before)
    await redis.del(keys.account, keys.due)
    const untouched = await digest()
    t.match(await run(call), /^(no_account|gone|unknown_session|done)$/)
    t.equal(await digest(), untouched)
  })
}

t.test('a key of another type is an error, not a silent success', async t => {
  for (const { before, call } of cases) {
    for (const key of call.keys) {
      if (key === 'ended' && call.args[0] !== 'T') continue // not looked at
      if (key === 'replay') continue // it is a list
      if (key === 'journal' && call.args[2] === 'done') continue // the end of a transfer is no entry
      if (key === 'due' && call.args[0]!.startsWith('E')) continue // nothing of an event falls due
      if (key === 'due' && call.script === 'charge' && call.args[0]!.startsWith('U')) continue // its time did not change
      await setUp(before)
      await redis.del(keys[key])
      await redis.lpush(keys[key], 'not ours')
      await t.rejects(run(call), /WRONGTYPE/, `${call.script} with a list for ${key}`)
    }
  }
})

t.test('what a damaged account cannot say is an error before anything is written', async t => {
  for (const { before, call } of cases.filter(each => each.before.length > 0 && each.call.keys.includes('account'))) {
    await setUp(before)
    await redis.hset(keys.account, 'funds', 'active money 12 held')
    const untouched = await digest()
    await t.rejects(run(call), /nil/, call.script)
    t.equal(await digest(), untouched)
  }
})

t.test('holds that would fall below zero are a defect, and nothing is written', async t => {
  await setUp([create(), charge('I', 0)])
  await redis.hset(keys.account, 'funds', 'active money 1000000 held 0 credit 0 debt 0 open 1 seq 2 rev 1')
  const untouched = await digest()
  t.match(await run(charge('T', 1)), /^defect held, debt or open below zero/)
  t.equal(await digest(), untouched)
})

t.test('usage of an unknown session is noted once for each time that it is asked', async t => {
  await setUp([create()])
  t.equal(await run(charge('U', 7)), 'unknown_session')
  t.equal(await redis.xlen(keys.journal), 1, 'first it is only said')
  t.equal(await run(charge('U', 7, now, true)), 'unknown_session')
  const [, [, entry]] = (await redis.xrange(keys.journal, '-', '+'))[1]! as unknown as [string, [string, string]]
  t.match(JSON.parse(entry), { seq: 2, outcome: 'unknown', posts: [], lines: [{ line: '10', unrated: 300 }] })
})

t.test('sixteen gaps stay open, and the oldest closes after that', async t => {
  await setUp([create()])
  await run(charge('I', 0))
  for (let i = 1; i <= 17; i++) await run(charge('U', 2 * i))
  t.match(await run(charge('U', 1)), /^old /, 'seventeen gaps: number 1 counts as answered')
  t.match(await run(charge('U', 3)), /^reordered /, 'the others are open')
  t.match(await run(charge('U', 3)), /^(old|again) /, 'until they come')
})
