/**
 * How the catalog's YAML looks: every key, what it means, its unit and its default, once for the check (load.ts) and for
 * editors (JSON Schema). What a single value cannot show, like names that must exist, is checked in load.ts and its parts.
 */
import { parseDuration } from '../config/quantity.js'
import { namePattern, readDecimal, readText } from '../config/yaml.js'
import { unitTypes } from '../units.js'
import {
  alignments,
  catchUps,
  directions,
  failureHandlings,
  finalUnitActions,
  informWords,
  lifeStarts,
  messageTypes,
  prorations,
  ratTypes,
  renewals,
  roundings,
  type Every,
} from './catalog.js'
import { exchangeRatePattern, parseExchangeRate } from './exchange.js'
import {
  amount,
  amountOf,
  amountsByUnit,
  boolean,
  choice,
  digitsOrText,
  duration,
  either,
  fields,
  integer,
  list,
  matching,
  may,
  money,
  must,
  oneOfKeys,
  parsed,
  share,
  shareOrAmount,
  shareOrMoney,
  signedMoney,
  some,
  table,
  text,
  type JsonSchema,
  type Of,
  type Shape,
} from './schema.js'
import { envelopeWords, timeMechanisms, triggerTypes, type TriggerName } from './terms.js'

const second = 1_000
const day = 86_400 * second
const year = 366 * day

/** Rating-Group and Service-Identifier. */
const unsigned32Max = 0xffff_ffff

const bucketUnits = [...unitTypes, 'units'] as const

const order = integer({ min: 0, max: 1_000_000 })
const upToAYear = duration({ min: second, max: year })
const upToTenYears = duration({ min: second, max: 10 * year })

const name = matching('a name', namePattern, 'use letters, digits, dots, dashes and underscores')

/** A name that stands for something of the catalog. Its form is not checked: that it is unknown says more. */
const reference: Shape<string> = { read: readText, json: { type: 'string' } }
const references = some(reference, 'write a name or a list of names, or remove the key')

/** Looked up in ratTypes by load-conditions.ts, in any case. */
const radio: Shape<string> = {
  read: readText,
  json: { anyOf: [{ enum: Object.values(ratTypes) }, { type: 'integer', minimum: 0, maximum: 255 }] },
}

const timezone = matching(
  'a time zone',
  /^[A-Za-z][A-Za-z0-9_+/-]*$/,
  'write a name of the IANA database, like Europe/Berlin',
)

const currency = matching('a currency', /^[A-Z]{3}$/, 'write its three capital letters, like EUR')

const localTime = matching(
  'a local date and time',
  /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2})?)?$/,
  "write it like 2026-12-24 or '2026-12-24T23:50'",
)

const exchangeRate: Shape<bigint> = {
  read: value =>
    readDecimal(
      value,
      'an exchange rate',
      parseExchangeRate,
      'write a quoted decimal with at most ten decimals, like "0.92"',
    ),
  json: { type: 'string', pattern: exchangeRatePattern.source },
}

const exchangeFields = fields({
  from: must(localTime, 'local date or time from which on it is in force, until the next one is'),
  rate: must(exchangeRate, "what 1 of it is worth in the catalog's currency: '0.92', up to ten decimals"),
})

export const clockHint = "write it like '08:00', from '00:00' to '24:00'"

/** Minutes of the day. */
const clock = parsed(
  'a time of day',
  timeText => {
    const [, hours = '', minutes = ''] = /^(\d{2}):(\d{2})$/.exec(timeText) ?? []
    const total = Number(hours) * 60 + Number(minutes)
    return hours !== '' && Number(minutes) < 60 && total <= 1_440 ? total : undefined
  },
  clockHint,
  { type: 'string', pattern: /^([01]\d|2[0-3]):[0-5]\d$|^24:00$/.source },
)

const never = 'never'

const number = parsed(
  'a number',
  numberText =>
    numberText === 'none'
      ? ('none' as const)
      : /^\d{1,10}$/.test(numberText) && Number(numberText) <= unsigned32Max
        ? Number(numberText)
        : undefined,
  `write 0 to ${unsigned32Max}, none, or a list of these`,
  { anyOf: [{ type: 'integer', minimum: 0, maximum: unsigned32Max }, { const: 'none' }] },
)

/** Attributes: each has one of some values. */
const attributes = table(some(text, 'write a value or a list of values'))

const plainAttributes = table(text)

/** What rules, grants and counters may ask for, beside the service. */
const conditions = {
  ratingGroup: may(
    some(number, 'write a number, a list, or none'),
    'Rating-Groups; `none`: lines without one. Default: all',
  ),
  serviceIdentifier: may(
    some(number, 'write a number, a list, or none'),
    'Service-Identifiers; `none`: lines without one. Default: all',
  ),
  zone: may(references, 'zones that the subscriber is in; `none`: in no zone. Default: all'),
  destination: may(references, 'destinations that the subscriber calls; `none`: none of them. Default: all'),
  apn: may(
    some(
      matching('an APN', /^[A-Za-z0-9._-]{0,100}\*?$/, 'write it like internet, or iot.* for all that begin so'),
      'write an APN or a list, or remove the key',
    ),
    'APNs (Called-Station-Id) in any case; a `*` at the end stands for any rest. Default: all',
  ),
  rat: may(
    some(radio, 'write a name or a list of names, or remove the key'),
    'radio technologies: utran, geran, wlan, eutran, nb-iot, lte-m, nr, or a number. Default: all',
  ),
  direction: may(
    some(choice(directions), 'write originating or terminating, or remove the key'),
    'whether the subscriber calls or is called. Default: all',
  ),
  message: may(
    some(choice(Object.values(messageTypes)), 'write a kind of message or a list, or remove the key'),
    'kinds of SMS and MMS: submission, delivery-report, m-send-req, … Default: all',
  ),
  when: may(references, 'calendars, one of which is in force. Default: always'),
  account: may(attributes, 'attributes of the account, each with one of its values: `{ segment: [vip, staff] }`'),
  subscriber: may(attributes, 'attributes of the subscriber, each with one of its values'),
}

const redirectTo = matching(
  'an address',
  /^(https?:\/\/\S+|sips?:\S+|[0-9.]{7,15}|[0-9a-fA-F:]*:[0-9a-fA-F:.]*)$/,
  'write a URL like http://topup.example/, a SIP URI, or an IP address',
)

const finalUnitFields = fields({
  action: must(
    choice(finalUnitActions),
    'terminate; none: the gateway is not told; redirect: traffic goes `to` a page; restrict: only what the filters let pass',
  ),
  to: may(redirectTo, 'of redirect: URL, SIP URI, IPv4 or IPv6 address of the server that takes over'),
  filters: may(
    list(
      matching(
        'an IPFilterRule',
        /^(permit|deny) (in|out) \S.*$/,
        'write it like "permit out ip from 192.0.2.1 to any"',
      ),
    ),
    'of restrict: IPFilterRules (RFC 6733 section 4.3.1) of what still passes',
  ),
  filterIds: may(list(text), 'of restrict: names of filters that the gateway has'),
  validity: may(
    duration({ min: second, max: day }),
    'of redirect and restrict: how long until the gateway asks whether there are funds again. Default: 5m',
  ),
  repeat: may(
    boolean,
    'of redirect and restrict: true: it stays so while there are no funds; false: then 4012. Default: false',
  ),
  announcement: may(
    integer({ min: 1, max: unsigned32Max }),
    'Announcement-Identifier that the subscriber hears with it',
  ),
})

const noTriggers = 'none'

const trigger = choice([...(Object.keys(triggerTypes) as TriggerName[]), noTriggers])

const quotaFields = fields({
  size: may(amount, 'units of a grant, when neither the request nor the funds say less: 10MB, 60s, 1'),
  min: may(amount, 'units of the smallest grant, even when less is asked for'),
  max: may(amount, 'units of a grant that costs nothing, and of the largest adaptive grant'),
  target: may(
    upToAYear,
    'time between two reports that grants aim at, from the pace of the usage, between min and max. Default: size is fixed',
  ),
  validity: may(upToAYear, 'Validity-Time: after this the gateway reports and asks again, whole seconds. Default: 1h'),
  threshold: may(share, 'share of a grant that is left when the gateway asks for more; 0%: not sent. Default: 0%'),
  finalUnit: may(
    finalUnitFields,
    "what becomes of this service at its last units. Default: what the offer's `finalUnit` says",
  ),
  holding: may(
    duration({ min: 0, max: day }),
    'Quota-Holding-Time: an idle grant is given back after this; 0s: never. Default: not sent',
  ),
  triggers: may(
    list(trigger),
    'changes that the gateway reports; `none`: none. Default: those that conditions of the rules depend on',
  ),
  consumption: may(
    duration({ min: second, max: day }),
    'of seconds: Quota-Consumption-Time, idle time of that length counts as used',
  ),
  timeMechanism: may(
    fields({
      type: must(choice(timeMechanisms), 'dtp: discrete, ctp: continuous time periods'),
      interval: must(duration({ min: second, max: day }), 'Base-Time-Interval'),
    }),
    'of seconds: Time-Quota-Mechanism, instead of `consumption`',
  ),
  envelope: may(
    choice(envelopeWords),
    'Envelope-Reporting: none, times, with volume, with events, or both. Default: not sent',
  ),
  furnish: may(text, 'text for the records of the packet gateway: PS-Furnish-Charging-Information. Default: not sent'),
})

const serviceFields = fields({
  context: must(
    some(
      parsed(
        'a Service-Context-Id',
        context => (/^[^\s@]+@[^\s@]+$/.test(context) ? context.toLowerCase() : undefined),
        'write it like 32251@3gpp.org',
        { type: 'string', pattern: /^[^\s@]+@[^\s@]+$/.source },
      ),
      'write one like 32251@3gpp.org',
    ),
    'Service-Context-Id, without release and operator, or exactly as a client sends it; one or a list',
  ),
  unit: must(
    choice(unitTypes),
    'what is counted: octets, seconds, events, or money (a value of which a share is charged)',
  ),
  quota: may(quotaFields, 'how much is granted at a time'),
  failureHandling: may(
    choice(failureHandlings),
    "what gateways do with its sessions when nobody answers. Default: the daemon's `charging.failureHandling`",
  ),
  inform: may(
    list(choice(informWords)),
    'what answers tell of money: `cost` so far, `balance` (and whether it is below the first of `lowBalance`). Default: nothing',
  ),
})

const thresholdFields = fields({
  money: may(
    list(shareOrMoney),
    "money: amounts, in the currency of the catalog, and shares of the account's last recharge: ['5.00', 10%, '0.50']. Those of `lowBalance` are told, too",
  ),
})

const zoneFields = fields({
  plmn: must(
    some(
      parsed(
        'a PLMN',
        plmn => (/^(\d{5,6}|\d{0,5}\*)$/.test(plmn) ? plmn : undefined),
        "write MCC and MNC like '26201', or '262*' for all that begin so",
        digitsOrText(/^(\d{5,6}|\d{0,5}\*)$/),
      ),
      "write one like '26201'",
    ),
    "serving networks: MCC and MNC like '26201', or their beginning like '208*'; the longest of all zones decides",
  ),
})

/** E.164 numbers have up to 15 digits. */
export const prefixPattern = /^\d{1,15}$/
export const prefixHint = 'write its digits without + and blanks, like 4915'

const destinationFields = fields({
  prefixes: must(
    some(
      parsed(
        'a prefix',
        prefix => (prefixPattern.test(prefix) ? prefix : undefined),
        prefixHint,
        digitsOrText(prefixPattern),
      ),
      "write one like '4915'",
    ),
    "first digits of called numbers, with country code and without +, like '4915'; the longest of all decides",
  ),
})

const monthDays = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]

/** `2026-12-25`, or `12-25` of every year. */
const date = parsed(
  'a date that exists',
  dateText => {
    const [, ofYear, month = '', ofMonth = ''] = /^(?:(\d{4})-)?(\d{2})-(\d{2})$/.exec(dateText) ?? []
    const days = monthDays[Number(month) - 1]
    if (days === undefined || Number(ofMonth) < 1 || Number(ofMonth) > days) return undefined
    if (ofYear === undefined) return dateText
    return new Date(Date.UTC(Number(ofYear), Number(month) - 1, Number(ofMonth))).getUTCDate() === Number(ofMonth)
      ? dateText
      : undefined
  },
  "write a date like '2026-12-25', or month and day of every year like '12-25'",
  { type: 'string', pattern: /^(\d{4}-)?(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$/.source },
)

const weekdays = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const

/** One weekday or a range of them, 1 Monday to 7 Sunday; a range may go on over Sunday. */
const days = parsed(
  'a weekday',
  daysText => {
    const [first, last = first, ...rest] = daysText.split('-').map(each => weekdays.findIndex(known => known === each))
    if (first === undefined || last === undefined || first < 0 || last < 0 || rest.length > 0) return undefined
    return Array.from({ length: ((last - first + 7) % 7) + 1 }, (_, index) => ((first + index) % 7) + 1)
  },
  'write mon, tue, wed, thu, fri, sat, sun, a range like mon-fri, or a list of these',
  { type: 'string', pattern: `^(${weekdays.join('|')})(-(${weekdays.join('|')}))?$` },
)

const calendarFields = fields({
  timezone: may(timezone, "IANA name of the clock that its times are of, like Europe/Berlin. Default: the catalog's"),
  days: may(some(days, 'write weekdays, or remove the key'), 'weekdays: mon-fri, sat, or a list. Default: all'),
  from: may(clock, "local time of day that it begins at, like '08:00'. Default: '00:00'"),
  to: may(clock, "local time of day that it ends at (not included); before `from`: on the next day. Default: '24:00'"),
  except: may(references, 'holidays on which it is not in force'),
  only: may(references, 'holidays on which alone it is in force'),
  since: may(localTime, 'local date or time from which on it is in force at all. Default: always'),
  until: may(localTime, 'local date or time from which on it is in force no more. Default: never'),
  priority: may(order, 'it is in force only while no calendar with a smaller number is. Default: no regard to others'),
})

const resets = ['day', 'week', 'month', 'anniversary', never] as const

const reset = parsed(
  'a reset',
  resetText => {
    const word = resets.find(each => each === resetText)
    if (word) return { kind: word }
    const every = /^(\d{1,5})([hdw])$/.exec(resetText)
    const each = every && Number(every[1]) * { h: 3_600_000, d: day, w: 7 * day }[every[2] as 'h' | 'd' | 'w']
    return each !== null && each > 0 && each <= 10 * year ? { kind: 'rolling' as const, every: each } : undefined
  },
  `write one of ${resets.join(', ')}, or a duration from the activation on, like 30d`,
  { type: 'string', pattern: `^(${resets.join('|')}|\\d{1,5}[hdw])$` },
)

const counterFields = fields(
  {
    unit: must(choice(unitTypes), 'what is counted: octets, seconds or events used, or money charged'),
    per: must(choice(['subscriber', 'account']), 'whose usage is counted together: subscriber or account'),
    reset: must(
      reset,
      'when it begins again: day, week (Monday), month, anniversary (of the activation), never, or 30d',
    ),
    timezone: may(timezone, "IANA name of the clock of its day, week or month. Default: the catalog's"),
    for: may(references, 'services that count. Default: all of its unit'),
    ...conditions,
    limit: may(amount, "where `then` begins: 5GB, 10h, 100, or money like '5.00'. Default: none"),
    then: may(
      choice(['stop', 'free', 'tell']),
      'at the limit: stop (no more is granted), free (it costs nothing more) or tell (only events). Default: stop',
    ),
    optIn: may(boolean, 'true: an account may opt out of the limit. Default: false'),
    steps: may(list(share), 'shares of the limit that leave an event when reached, ascending, like [50%, 80%, 100%]'),
  },
  { json: amountsByUnit(unitTypes, ['limit']) },
)

/** Millionths: 2.5% is 25,000. */
const rateShare = parsed(
  'a percentage',
  shareText => {
    const [, whole = '', fraction = ''] = /^(\d{1,3})(?:\.(\d{1,4}))?%$/.exec(shareText) ?? []
    const millionths = BigInt(whole + fraction.padEnd(4, '0'))
    return whole !== '' && millionths > 0n && millionths <= 1_000_000n ? millionths : undefined
  },
  'write it like 2.5%, above 0% and up to 100%',
  { type: 'string', pattern: /^(\d{1,2}(\.\d{1,4})?|100(\.0{1,4})?)%$/.source },
)

const tierFields = fields(
  {
    upTo: may(amount, 'end of this tier, counted from 0; the last tier has none. A multiple of the step'),
    price: may(money, "price of `per` units in this tier, like '0.02'"),
    per: may(amount, "units that the price is for. Default: the rate's `per`"),
    percent: may(rateShare, 'instead of a price, for values: share of the value'),
  },
  { json: oneOfKeys(['price', 'percent']) },
)

const capFields = fields({
  amount: must(money, 'the most that a session pays'),
  then: may(choice(['free', 'stop']), 'above it the session goes on free, or stops. Default: free'),
})

const rateAmounts = ['per', 'step', 'first']

const rateFields = fields(
  {
    unit: must(choice(unitTypes), 'what is paid for: octets, seconds, events, or money (a value)'),
    price: may(money, "price of `per` units in the catalog's currency, quoted, up to six decimals: '0.01'"),
    per: may(amount, 'units that the price is for: 1MB, 60s. Default: 1 for events, none for octets and seconds'),
    step: may(amount, 'usage is billed in started steps of so many units. Default: 1 for events and money'),
    first: may(amount, 'units that are billed at once when a session uses anything. Default: none'),
    setup: may(money, 'price of a session that uses anything, in addition. Default: 0'),
    minimum: may(money, 'least price of a session that uses anything. Default: 0'),
    cap: may(either(money, capFields), "the most that a session pays: '2.00' (then free), or with what comes then"),
    round: may(choice(roundings), 'how the price of a session is rounded, once: up, down or nearest. Default: up'),
    decimals: may(integer({ min: 0, max: 6 }), 'decimals that the price of a session is rounded to. Default: 6'),
    counter: may(reference, "counter that the tiers stand on. Default: the session's own usage"),
    mode: may(
      choice(['graduated', 'volume']),
      'graduated: each tier at its own price; volume: all at the price of the tier reached. Default: graduated',
    ),
    tiers: may(
      some(tierFields, 'write one tier at least'),
      'instead of one price: prices from the first unit on, ascending',
    ),
    percent: may(rateShare, 'instead of a price, for values (unit money): share of the value, like 2.5%'),
  },
  { json: { ...amountsByUnit(unitTypes, rateAmounts), ...oneOfKeys(['price', 'tiers', 'percent']) } },
)

const calendarUnits = ['hour', 'day', 'week', 'month', 'year'] as const

/** A unit of the calendar, or a time. */
const every: Shape<Every> = {
  read: value => {
    const unit = calendarUnits.find(each => each === readText(value))
    if (unit) return { kind: unit }
    const ms = upToAYear.read(value)
    return ms === undefined ? undefined : { kind: 'rolling', every: ms }
  },
  json: { anyOf: [{ enum: calendarUnits }, upToAYear.json] },
}

const ahead = list(duration({ min: second, max: year }))

const feeFields = fields({
  amount: must(money, 'what the offer costs: taken with the purchase and at each renewal, from free money only'),
  every: may(every, 'how long it is paid for: 30d, or hour, day, week, month, year. Default: once'),
  align: may(
    choice(alignments),
    "anchored: periods begin at the purchase's day and time, at the last day of shorter months; calendar: with the hour, day, Monday, 1st. Default: anchored",
  ),
  proration: may(
    choice(prorations),
    'of a short first period, and when it is changed or cancelled: none: it costs all of it; price: its part, rounded down; price-and-grants: and brings its part, rounded up. Default: none',
  ),
  renew: may(choice(renewals), 'auto: by itself; manual: when asked to; none: the subscription ends. Default: auto'),
  setup: may(money, 'once, with the purchase. Default: 0'),
  retry: may(
    ahead,
    'so long after a renewal failed it is tried again, ascending; each credit tries it, too. Default: [1h, 6h, 1d]',
  ),
  grace: may(
    duration({ min: 0, max: year }),
    'how long the subscription waits for a renewal that failed before it ends; its buckets end as they would. Default: 3d',
  ),
  graceRules: may(boolean, "whether the offer's rules hold while it waits. Default: true"),
  catchUp: may(
    choice(catchUps),
    'of renewals that nobody came to in time, each is made up for, or only the latest. Default: each',
  ),
  remind: may(ahead, 'so long before the end of a period an event says so: [3d, 1d]'),
})

const rolloverFields = fields({
  min: may(amount, 'less than this is not taken along. Default: 1'),
  max: must(amount, 'most that is taken along'),
  for: must(upToTenYears, 'how long it lives then, like 30d'),
  priority: may(order, 'its priority then, smaller pays first. Default: that of the grant'),
})

const conversionFields = fields({
  each: must(amount, 'so many units of the service, started ...'),
  takes: must(amount, '... take so much of the bucket'),
})

const expiryWord = parsed(
  'a duration',
  expiry => {
    if (expiry === never || expiry === 'period') return { kind: expiry } as const
    if (/^\d{4}-/.test(expiry)) return { kind: 'at' as const, text: expiry }
    const ms = /^\d{1,9}(s|m|h|d|w)$/.test(expiry) ? parseDuration(expiry) : undefined
    return ms !== undefined && ms > 0 && ms <= 100 * year ? { kind: 'after' as const, after: ms } : undefined
  },
  'write 30d, period (of the fee) or never',
  { type: 'string', pattern: /^(never|period|\d{1,9}(s|m|h|d|w)|\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2})?)?)$/.source },
)

const expiryFields = fields(
  {
    after: may(upToTenYears, 'how long it lives'),
    from: may(choice(['grant', 'first-use']), 'with `after`: since it was granted, or first used. Default: grant'),
    end: may(choice(['day', 'week', 'month']), "instead of `after`: the end of the calendar's day, week or month"),
    timezone: may(timezone, "with `end`: IANA name of the clock. Default: the catalog's"),
  },
  { json: oneOfKeys(['after', 'end']) },
)

const grantFields = fields(
  {
    bucket: must(name, 'name of the bucket, which rules and other grants know it by'),
    unit: may(
      choice(bucketUnits),
      'octets, seconds, events, money or units (like points). Default: the unit of the services',
    ),
    amount: must(amount, "how much: 5GB, 100m, 1000, or money like '5.00'"),
    for: may(
      either(references, table(conversionFields)),
      'services that it pays; with how much each so many units take: `{ data: { each: 1MB, takes: 1 } }`',
    ),
    ...conditions,
    step: may(amount, 'usage is taken from it in started steps of so many units. Default: 1'),
    expires: must(
      either(expiryWord, expiryFields),
      'its end: 30d, period (of the fee), never, a local time, `{ after: 30d, from: first-use }` or `{ end: month }`',
    ),
    starts: may(localTime, 'local date or time before which it is not usable. Default: at once'),
    priority: may(order, 'of several buckets the smallest number pays first. Default: 100'),
    paid: may(boolean, 'true: it was bought, and pays after what was given. Default: false'),
    blocker: may(boolean, 'true: while it is valid, nothing behind it pays. Default: false'),
    remind: may(ahead, 'so long before its end an event says so, while something is left: [3d, 1d]'),
    warn: may(list(shareOrAmount), 'shares used, or amounts left, that leave an event: [80%, 100%]'),
    rollover: may(rolloverFields, 'what is left at its end goes on in another bucket of its name'),
  },
  {
    json: amountsByUnit(bucketUnits, ['amount']),
    advice: { currency: 'a catalog has one currency, at its top: remove it here', conversion: 'write it in `for`' },
  },
)

const resultCode = (words: ReadonlyMap<string, number>, hint: string): Shape<number> =>
  parsed([...words.keys()].join(' or '), codeText => words.get(codeText), hint, {
    enum: [true, Number([...words.keys()][1])],
  })

/** DIAMETER_END_USER_SERVICE_DENIED, _CREDIT_CONTROL_NOT_APPLICABLE, DIAMETER_AUTHORIZATION_REJECTED. */
const [serviceDenied, notApplicable, authorizationRejected] = [4010, 4011, 5003]

const effects = ['use', 'free', 'deny'] as const

const ruleFields = fields(
  {
    service: may(references, 'services. Default: all'),
    ...conditions,
    use: may(
      some(reference, 'write buckets and a rate, or `deny: true`'),
      'what pays: buckets, and a rate at the end, or before the buckets that come after it',
    ),
    pool: may(reference, 'pool of the offer that the grants belong to; only where a rate alone pays'),
    free: may(
      resultCode(
        new Map([
          ['true', 0],
          ['4011', notApplicable],
        ]),
        'write true, or 4011 for clients that need it',
      ),
      'true: it costs nothing. 4011: the gateway shall stop asking',
    ),
    deny: may(
      resultCode(
        new Map([
          ['true', serviceDenied],
          ['5003', authorizationRejected],
        ]),
        'write true (4010), or 5003 to black-list; else remove the key',
      ),
      'true: refused with 4010. 5003: the gateway shall not ask again',
    ),
  },
  { json: oneOfKeys(effects) },
)

const poolFields = fields({
  id: must(integer({ min: 0, max: unsigned32Max }), 'G-S-U-Pool-Identifier, each once in an offer'),
  units: may(integer({ min: 1, max: 1_000_000_000_000 }), 'so many pool units cost `price`. Default: 1000000'),
  price: must(
    money,
    'what `units` pool units cost: with the price of its rate this gives the multiplier of each member',
  ),
})

const offerFields = fields({
  rank: may(order, 'of several offers of a subscriber, the smallest number is asked first. Default: 100'),
  fee: may(feeFields, 'what the offer costs'),
  eligible: may(attributes, 'attributes of the account that may buy it: `{ segment: [consumer] }`. Default: all'),
  sold: may(
    fields({
      from: may(localTime, 'local date or time from which on it is sold. Default: always'),
      until: may(localTime, 'local date or time from which on it is sold no more. Default: never'),
    }),
    'when it is sold',
  ),
  grants: may(list(grantFields), 'buckets that come with it'),
  rules: may(list(ruleFields), 'what pays; the first rule whose conditions all match decides'),
  quota: may(table(quotaFields), 'by service: how much is granted at a time; what is absent comes from the service'),
  finalUnit: may(finalUnitFields, 'what the gateway does when the last units are used. Default: terminate'),
  pools: may(table(poolFields), 'credits that grants of several rating groups share: named by `pool` of the rules'),
  sessions: may(
    integer({ min: 1, max: 1_000_000 }),
    'open sessions that the account may have: more get 5006. Default: any number',
  ),
})

/** Hundredths of a percent: 10% is 1000n. */
const bonusShare = parsed(
  'a percentage',
  shareText => {
    const [, whole = '', fraction = ''] = /^(\d{1,4})(?:\.(\d{1,2}))?%$/.exec(shareText) ?? []
    const hundredths = BigInt(whole + fraction.padEnd(2, '0'))
    return whole !== '' && hundredths > 0n && hundredths <= 100_000n ? hundredths : undefined
  },
  'write it like 10%, above 0% and up to 1000%',
  { type: 'string', pattern: /^\d{1,4}(\.\d{1,2})?%$/.source },
)

const perDayFields = fields({
  count: may(integer({ min: 1, max: 1_000_000 }), 'so many'),
  sum: may(money, 'so much money together'),
})

const channelFields = fields({
  min: may(money, 'less is refused. Default: any amount'),
  max: may(money, 'more is refused. Default: any amount'),
  perDay: may(
    perDayFields,
    "the most that one account gets over it in a day of the catalog's time zone. Default: no limit",
  ),
})

const bonusIntoFields = fields({
  bucket: must(name, 'name of the bucket of money, which rules and other grants know it by'),
  expires: must(
    either(expiryWord, expiryFields),
    'its end, as of a grant: 30d, never, a local time or `{ end: month }`',
  ),
  starts: may(localTime, 'local date or time before which it is not usable. Default: at once'),
  for: may(references, 'services that rates may take it for. Default: all'),
  priority: may(order, 'of several buckets the smallest number pays first. Default: 100'),
  paid: may(boolean, 'true: it pays after what was given. Default: false'),
})

const bonusFields = fields(
  {
    name: must(name, 'its name in ledger, answers and reports'),
    channel: may(references, 'channels, one of which it came over. Default: all'),
    from: may(money, 'amounts of at least so much. Default: all'),
    below: may(money, 'amounts of less than so much. Default: all'),
    account: may(attributes, 'attributes of the account, each with one of its values: `{ segment: [vip, staff] }`'),
    first: may(boolean, "true: for the account's first recharge only. Default: false"),
    since: may(localTime, 'local date or time from which on it is given. Default: always'),
    until: may(localTime, 'local date or time from which on it is given no more. Default: never'),
    most: may(integer({ min: 1, max: 1_000_000 }), 'how often one account gets it. Default: each time'),
    percent: may(bonusShare, 'of the amount, rounded down to a micro: 10%'),
    money: may(money, "a fixed amount: '2.00'"),
    into: may(bonusIntoFields, 'bucket that `percent` or `money` goes into. Default: main'),
    grant: may(
      grantFields,
      'a bucket as offers grant them, instead of money: { bucket: gift, amount: 1GB, for: data, expires: 7d }',
    ),
  },
  { json: oneOfKeys(['percent', 'money', 'grant']) },
)

const rechargeFields = fields({
  channels: may(
    table(channelFields),
    'where recharges may come from, with their limits; any other is refused. Default: any channel',
  ),
  bonuses: may(list(bonusFields), 'what comes on top: the first rule whose conditions all hold'),
})

const transferFields = fields({
  min: may(money, 'less is refused. Default: any amount'),
  max: may(money, 'more is refused. Default: any amount'),
  fee: may(money, 'what the sender pays for one. Default: 0'),
  perDay: may(perDayFields, "the most that one account sends in a day of the catalog's time zone. Default: no limit"),
  allowed: may(
    list(
      fields({
        from: may(attributes, 'attributes of the sender: `{ segment: [consumer] }`. Default: any'),
        to: may(attributes, 'attributes of the receiver. Default: any'),
      }),
    ),
    'between which accounts; one of these must fit. Default: all',
  ),
})

const useFields = fields(
  {
    service: must(reference, 'service'),
    ratingGroup: may(integer({ min: 0, max: unsigned32Max }), 'Rating-Group. Default: none'),
    serviceIdentifier: may(list(integer({ min: 0, max: unsigned32Max })), 'Service-Identifiers. Default: none'),
    octets: may(amountOf('octets'), 'how much of a service in octets'),
    seconds: may(amountOf('seconds'), 'how much of a service in seconds'),
    events: may(amountOf('events'), 'how much of a service in events'),
    money: may(amountOf('money'), 'which value of a service in money'),
    at: may(localTime, "local time of its beginning. Default: the test's `at`"),
    over: may(upToAYear, 'octets are used evenly over this time. Default: all at once'),
    plmn: may(
      parsed(
        'a PLMN',
        plmn => (/^\d{5,6}$/.test(plmn) ? plmn : undefined),
        "write MCC and MNC like '26201'",
        digitsOrText(/^\d{5,6}$/),
      ),
      "serving network, like '26201'. Default: not sent",
    ),
    called: may(
      parsed(
        'a number',
        called => (/^\+?\d{1,20}$/.test(called) ? called.replace('+', '') : undefined),
        'write its digits, like 4915112345678',
        digitsOrText(/^\+?\d{1,20}$/),
      ),
      'called number with country code. Default: not sent',
    ),
    apn: may(text, 'APN. Default: not sent'),
    rat: may(radio, 'radio technology, like eutran. Default: not sent'),
  },
  { json: oneOfKeys(unitTypes) },
)

const lifeFields = fields({
  offers: may(references, 'accounts with one of these offers. Default: all'),
  account: may(attributes, 'attributes of the accounts: `{ segment: [consumer] }`. Default: all'),
  start: may(
    choice(lifeStarts),
    'what makes a new account active: its first `recharge`, its first `use`, `any` of both, or `none`: it is from the beginning. Default: recharge',
  ),
  unused: may(upToTenYears, 'a new account that nothing made active ends after this time. Default: never'),
  validity: may(
    some(
      fields({
        amount: must(money, 'a recharge of so much at least'),
        lasts: must(upToTenYears, 'makes the account valid for this time: 30d'),
      }),
      "write one like { amount: '5.00', lasts: 30d }",
    ),
    'how long recharges make an account valid, ascending by amount; smaller ones do not. Default: for ever',
  ),
  first: may(upToTenYears, 'validity that its first use gives an account, or with `start: none` its beginning'),
  extend: may(
    choice(['later', 'now']),
    'a recharge counts from the `later` of now and the present end, or from `now`; it never shortens. Default: later',
  ),
  max: may(upToTenYears, 'validity never ends later than this from now. Default: no limit'),
  grace: may(
    fields({
      lasts: must(upToTenYears, 'how long'),
      service: may(choice(['none', 'all']), 'in grace an account is served, or not (4010). Default: none'),
    }),
    'after its validity an account is in grace. Default: none, it is suspended at once',
  ),
  suspended: may(upToTenYears, 'how long it is suspended then, until it is terminated. Default: for ever'),
  forfeit: may(boolean, 'at termination its money and buckets expire; false: they stay. Default: true'),
  debt: may(
    choice(['wait', 'writeoff']),
    'an account that owes something is not terminated, or what it owes is written off. Default: wait',
  ),
  quarantine: may(upToTenYears, 'its identities are free for others so long after its termination. Default: never'),
  warn: may(list(upToTenYears), 'times before the end of validity that leave an event, like [7d, 1d]'),
})

const numberRange = parsed(
  'a range of numbers',
  rangeText => {
    const [, from = '', to] = /^(\d{1,15})(?:-(\d{1,15})|\*)?$/.exec(rangeText) ?? []
    if (from === '' || (to !== undefined && (to.length !== from.length || to < from))) return undefined
    return { from, to: to ?? from, prefix: rangeText.endsWith('*') }
  },
  'write a prefix like 4917600*, or the first and the last of a range: 491760010000-491760019999',
  digitsOrText(/^\d{1,15}(-\d{1,15}|\*)?$/),
)

const autoCreateFields = fields({
  msisdn: may(list(numberRange), 'MSISDNs like 4917600*, or 491760010000-491760019999'),
  imsi: may(list(numberRange), 'the same of IMSIs'),
  offers: must(references, 'what such a subscriber gets, with its buckets'),
  attributes: may(plainAttributes, 'attributes of the account: `{ segment: prepaid }`'),
  currency: may(currency, "of the account. Default: the catalog's"),
})

const results = ['granted', '4010', '4011', '4012', '5003', '5031'] as const

const event = matching('an event', /^\S+ \S+$/, 'write a counter, a bucket or main, and the step: day-roaming 80%')

const testFields = fields(
  {
    name: must(text, 'what it shows'),
    offer: may(reference, 'offer that the account has'),
    offers: may(references, 'instead of `offer`: several'),
    account: may(
      fields({
        currency: may(currency, "its currency, and that of all money of the case. Default: the catalog's"),
        balance: may(money, "money on it. Default: '100.00'"),
        creditLimit: may(money, "how far below 0 it may go. Default: '0.00'"),
        attributes: may(plainAttributes, 'its attributes: `{ segment: vip }`'),
      }),
      'the account',
    ),
    subscriber: may(
      fields({ attributes: may(plainAttributes, 'its attributes: `{ card: child }`') }),
      'the subscriber of the account whose usage it is',
    ),
    given: may(
      fields({
        buckets: may(table(amount), 'amounts left in buckets, instead of what the offers grant'),
        counters: may(table(amount), 'what counters have counted before. Default: 0'),
      }),
      'what was used before',
    ),
    at: may(localTime, "local time at which it happens. Default: '2026-01-05T12:00', a Monday"),
    use: must(
      some(useFields, 'write what is used'),
      'what is used: one session, or a list of sessions one after the other',
    ),
    expect: must(
      fields({
        cost: may(money, 'money that all uses cost together'),
        balance: may(signedMoney, 'money left'),
        debt: may(money, 'money owed'),
        left: may(table(amount), 'amounts left in buckets'),
        counters: may(table(amount), 'what counters have counted then'),
        result: may(
          parsed('a result', result => results.find(each => each === result), `write one of ${results.join(', ')}`, {
            anyOf: [{ const: 'granted' }, { enum: [...results.slice(1), ...results.slice(1).map(Number)] }],
          }),
          'what the last use is answered: granted, or the Result-Code of its refusal',
        ),
        events: may(list(event), "events that it leaves, like ['day-roaming 80%']"),
      }),
      'what must come out; what is absent is not looked at',
    ),
  },
  { json: oneOfKeys(['offer', 'offers']) },
)

const taxFields = fields({
  prices: must(
    choice(['included', 'excluded']),
    'whether the prices have the tax in them; nothing is computed from it',
  ),
  rate: may(text, "which tax, in words for those who read quotes, like '19 % VAT'"),
})

const catalogFields = fields({
  currency: may(currency, 'ISO 4217 code of all its money, like EUR; in one file of the catalog'),
  exchange: may(
    table(some(exchangeFields, "write one like { from: 2026-01-01, rate: '0.92' }")),
    'by currency: exchange rates, ascending by date, by which accounts in it pay the prices here. Default: no other currency',
  ),
  tax: may(taxFields, 'what its prices say of tax, as quotes show it. Default: nothing'),
  timezone: may(timezone, 'IANA name of the clock of all local times that name none. Default: UTC'),
  lowBalance: may(list(money), "amounts of money: falling to one of them leaves an event, like ['1.00', '0.20']"),
  thresholds: may(thresholdFields, 'where what falls is told to other systems (GET /v1/events, webhooks)'),
  services: may(table(serviceFields), 'what gateways ask credit for'),
  zones: may(table(zoneFields), 'where subscribers are'),
  destinations: may(table(destinationFields), 'whom subscribers call'),
  destinationFiles: may(
    list(text),
    'CSV files with more destinations, `prefix,destination` a line below this header; relative to this file',
  ),
  holidays: may(table(list(date)), "dates like '2026-12-25', or '12-25' of every year"),
  calendars: may(table(calendarFields), 'times that rules can ask for'),
  counters: may(table(counterFields), 'what was used or charged in a period: for tiers, limits and events'),
  rates: may(table(rateFields), 'prices'),
  offers: may(table(offerFields), 'what a subscriber can have'),
  lifecycle: may(
    table(lifeFields),
    'how long accounts live: the first whose `offers` and `account` fit is the one. Default: accounts are active for ever',
  ),
  autoCreate: may(
    table(autoCreateFields),
    'ranges of numbers whose unknown subscribers get an account at their first use. Default: none, they are refused (5030)',
  ),
  recharges: may(rechargeFields, 'channels of recharges and their bonuses; in one file of the catalog'),
  transfers: may(transferFields, 'money from account to account; in one file of the catalog'),
  tests: may(list(testFields), 'cases that must come out: run by the check and at each load'),
})

/** A file of the catalog. */
export const catalogShape = catalogFields

/** The JSON Schema (draft 2020-12) of a file of the catalog, for editors. */
export const catalogSchema = (): JsonSchema => ({
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  title: 'ocsd catalog',
  description: 'What is sold, and at which price. All *.yaml files of a folder are one catalog.',
  ...catalogFields.json,
})

export type QuotaGroup = Of<typeof quotaFields>
export type FinalUnitGroup = Of<typeof finalUnitFields>
export type PoolGroup = Of<typeof poolFields>
export type ServiceGroup = Of<typeof serviceFields>
export type CalendarGroup = Of<typeof calendarFields>
export type CounterGroup = Of<typeof counterFields>
export type RateGroup = Of<typeof rateFields>
export type TierGroup = Of<typeof tierFields>
export type GrantGroup = Of<typeof grantFields>
export type RuleGroup = Of<typeof ruleFields>
export type OfferGroup = Of<typeof offerFields>
export type FeeGroup = Of<typeof feeFields>
export type RolloverGroup = Of<typeof rolloverFields>
export type ConversionGroup = Of<typeof conversionFields>
export type TestGroup = Of<typeof testFields>
export type UseGroup = Of<typeof useFields>
export type ExchangeGroup = Of<typeof exchangeFields>
export type ZoneGroup = Of<typeof zoneFields>
export type DestinationGroup = Of<typeof destinationFields>
export type RechargeGroup = Of<typeof rechargeFields>
export type ChannelGroup = Of<typeof channelFields>
export type BonusGroup = Of<typeof bonusFields>
export type BonusIntoGroup = Of<typeof bonusIntoFields>
export type PerDayGroup = Of<typeof perDayFields>
export type TransferGroup = Of<typeof transferFields>
export type LifeGroup = Of<typeof lifeFields>
export type AutoCreateGroup = Of<typeof autoCreateFields>
