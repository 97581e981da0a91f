/** Two good catalogs, and the mistakes that the check must tell when they are planted in them. */
import type { Mistake } from './mistake.js'

export interface PlantedMistake extends Mistake {
  /** An editor with the JSON Schema tells it, too. */
  readonly schema?: true
}

/** Without any of the finer things. */
export const plainCatalog = `currency: EUR
services:
  data: { context: 32251@3gpp.org, unit: octets, quota: { size: 10MB, min: 100kB, max: 100MB, validity: 1h, threshold: 20% } }
  voice: { context: 32260@3gpp.org, unit: seconds }
rates:
  data-payg: { unit: octets, price: "0.01", per: 1MB, step: 100kB }
  voice-payg: { unit: seconds, price: "0.06", per: 60s, first: 30s, step: 1s }
offers:
  payg:
    rules:
      - { service: data, ratingGroup: 30, free: true }
      - { service: data, ratingGroup: [10, none], use: [data-payg] }
      - { service: voice, use: [voice-payg] }
  bundle:
    rank: 10
    fee: { amount: "10.00", every: 30d }
    grants:
      - { bucket: data-5gb, amount: 5GB, for: data, expires: 30d }
    rules:
      - { service: data, use: [data-5gb, data-payg] }
`

/** With something of everything. */
export const fullCatalog = `currency: EUR
timezone: Europe/Berlin
lowBalance: ['1.00', '0.20']
services:
  data: { context: [32251@3gpp.org], unit: octets, quota: { size: 10MB, target: 300s, validity: 2h } }
  voice: { context: 32260@3gpp.org, unit: seconds }
  sms: { context: 32274@3gpp.org, unit: events }
  shop: { context: value@example.com, unit: money, quota: { size: '1.00', max: '50.00' } }
zones:
  home: { plmn: ['26201', '26202'] }
  eu: { plmn: ['208*', 22210] }
destinations:
  de: { prefixes: ['49'] }
  de-mobile: { prefixes: ['4915', '4916'] }
destinationFiles: [destinations.csv]
holidays:
  de: ['2026-12-25', '01-01', '02-29']
  bank: ['2026-08-31']
calendars:
  peak: { days: mon-fri, from: '08:00', to: '20:00', except: [de, bank], priority: 2 }
  night: { timezone: Europe/London, from: '22:00', to: '06:00' }
  holiday: { only: de, priority: 1 }
  promo: { since: 2026-12-01, until: '2027-01-01T00:00' }
counters:
  month-data: { unit: octets, per: account, reset: month }
  day-roaming: { unit: money, per: subscriber, reset: day, for: [data], zone: [eu], limit: '5.00', then: stop, optIn: true, steps: [50%, 80%, 100%] }
  member-data: { unit: octets, per: subscriber, reset: 30d, for: data, limit: 5GB, then: free }
rates:
  data-home: { unit: octets, price: '0.01', per: 1MB, step: 100kB, cap: '2.00', round: nearest, decimals: 2 }
  data-eu: { unit: octets, price: '0.02', per: 1MB, step: 1MB, setup: '0.05', minimum: '0.10', cap: { amount: '3.00', then: stop } }
  data-tiers:
    unit: octets
    step: 1MB
    per: 1MB
    counter: month-data
    tiers:
      - { upTo: 1GB, price: '0.02' }
      - { upTo: 2GB, price: '0.01' }
      - { price: '0.005', per: 1MB }
  voice-bands: { unit: seconds, step: 1s, per: 60s, mode: volume, tiers: [{ upTo: 60s, price: '0.06' }, { price: '0.03' }] }
  voice-night: { unit: seconds, price: '0.01', per: 60s, step: 1s }
  sms-each: { unit: events, price: '0.05' }
  shop-share: { unit: money, percent: 2.5%, decimals: 2 }
offers:
  all:
    rank: 10
    fee: { amount: '10.00', every: 30d }
    eligible: { segment: [consumer, vip] }
    sold: { from: 2026-01-01, until: 2027-01-01 }
    grants:
      - { bucket: data-5gb, amount: 5GB, for: [data], zone: [home, eu], expires: period, priority: 10, blocker: true, step: 1MB, warn: [80%, 100%], rollover: { min: 100MB, max: 2GB, for: 30d } }
      - { bucket: points, unit: units, amount: 1000, for: { data: { each: 1MB, takes: 1 }, voice: { each: 60s, takes: 2 } }, expires: never, paid: true }
      - { bucket: bonus, unit: money, amount: '5.00', for: [voice, sms], expires: { after: 30d, from: first-use } }
      - { bucket: weekend, amount: 1h, for: voice, starts: 2026-12-01, expires: { end: week, timezone: Europe/Rome }, warn: [10m, 0s] }
    rules:
      - { service: data, apn: iot.*, rat: [nb-iot, 9], account: { segment: vip }, deny: 5003 }
      - { service: data, zone: eu, when: peak, use: [data-5gb, data-eu] }
      - { service: data, zone: eu, when: [holiday, promo], use: [data-5gb, data-home] }
      - { service: data, subscriber: { card: [child] }, use: [data-home, data-5gb] }
      - { service: data, use: [data-5gb, points, data-tiers] }
      - { service: voice, destination: [de, de-mobile], when: night, use: [voice-night] }
      - { service: voice, destination: [de, de-mobile], use: [weekend, points, voice-bands] }
      - { service: voice, destination: [fr, fr-mobile], free: true }
      - { service: sms, serviceIdentifier: [1, none], use: [sms-each] }
      - { service: shop, use: shop-share }
    quota: { data: { size: 50MB } }
    finalUnit: { action: terminate }
tests:
  - name: a bundle is used
    offer: all
    account: { balance: '5.00', creditLimit: '1.00', attributes: { segment: vip } }
    given: { buckets: { data-5gb: 1GB, bonus: '0.50' }, counters: { month-data: 995MB, day-roaming: '1.00' } }
    at: '2026-12-24T23:50'
    use: { service: data, ratingGroup: 10, octets: 1GB, over: 1h, plmn: '20801', apn: internet, rat: eutran }
    expect: { cost: '0.00', balance: '5.00', debt: '0.00', left: { data-5gb: 0B }, counters: { month-data: 0B }, result: granted, events: ['day-roaming 80%', 'data-5gb 100%', 'main 1.00'] }
  - name: two calls
    offers: [all]
    account: { currency: USD }
    use:
      - { service: voice, called: '+4915112345678', seconds: 90s }
      - { service: sms, events: 1, serviceIdentifier: 1, at: 2026-01-06T08:00 }
    expect: { result: 4012 }
exchange:
  USD: [{ from: 2026-01-01, rate: '0.92' }, { from: '2026-12-01T00:00', rate: '0.95' }]
  JPY: { from: 2026-01-01, rate: "0.0061" }
`

/** destinations.csv beside it. */
export const fullDestinations = `prefix,destination
33,fr
336,fr-mobile
`

/** Planted in plainCatalog. */
export const plainMistakes: readonly PlantedMistake[] = [
  // Money
  {
    replace: '"0.01"',
    by: '«0.01',
    expect: 'rates.data-payg.price: 0.01 is a bare number; quote it: "0.01"',
    schema: true,
  },
  {
    replace: '"10.00"',
    by: '«10',
    expect: 'offers.bundle.fee.amount: 10 is a bare number; quote it: "10"',
    schema: true,
  },
  {
    replace: '"0.01"',
    by: '«"0,01"',
    expect:
      'rates.data-payg.price: `0,01` is not an amount of money; write a quoted decimal with at most six decimals, like "0.01"',
    schema: true,
  },
  {
    replace: '"0.01"',
    by: '«"0.0000001"',
    expect:
      'rates.data-payg.price: `0.0000001` is not an amount of money; write a quoted decimal with at most six decimals, like "0.01"',
    schema: true,
  },
  {
    replace: '"0.01"',
    by: '«"-0.01"',
    expect: 'rates.data-payg.price is negative; write an amount of 0 or more',
    schema: true,
  },
  {
    replace: '"0.01"',
    by: '«"0.00"',
    expect: 'rates.data-payg.price is 0; write `free: true` in the rule instead of a rate',
  },
  {
    replace: 'EUR',
    by: '«Euro',
    expect: 'currency: `Euro` is not a currency; write its three capital letters, like EUR',
    schema: true,
  },
  {
    replace: 'currency: EUR\n',
    by: '«',
    expect: 'the catalog lacks `currency`; add `currency: EUR`',
  },
  // Quantities
  {
    replace: '100kB }',
    by: '«100KB }',
    expect: 'rates.data-payg.step: `100KB` is not a size; write 100kB or 100KiB',
    schema: true,
  },
  {
    replace: '1MB, step',
    by: '«1000000, step',
    expect:
      'rates.data-payg.per: `1000000` is not a size; write a size like 100kB (10^5 octets), 100KiB (102,400 octets), 5GB or 20B',
    schema: true,
  },
  {
    replace: 'first: 30s',
    by: 'first: «30',
    expect: 'rates.voice-payg.first: `30` is not a time in whole seconds; write 30s',
    schema: true,
  },
  {
    replace: 'step: 1s',
    by: 'step: «500ms',
    expect: 'rates.voice-payg.step: `500ms` is not a time in whole seconds; write a duration like 30s, 10m, 1h or 30d',
  },
  {
    replace: '100kB }',
    by: '«0B }',
    expect: 'rates.data-payg.step is 0; write at least 1',
  },
  {
    replace: 'validity: 1h',
    by: 'validity: «0s',
    expect: 'services.data.quota.validity is below 1s; write at least 1s',
  },
  {
    replace: '20%',
    by: '«20',
    expect: 'services.data.quota.threshold: `20` is not a share from 0% to 100%; write it like 20%',
    schema: true,
  },
  {
    replace: 'max: 100MB',
    by: 'max: «1MB',
    expect: 'services.data.quota: size is above max; write min ≤ size ≤ max',
  },
  {
    replace: '"0.01", per: 1MB, step: 100kB',
    by: '"9.99", per: 1TiB, step: «1B',
    expect:
      'rates.data-payg: 1 octets cost 624375/68719476736 micros, too fine to be exact; use a larger step, like 1KiB',
  },
  {
    replace: 'price: "0.01", per: 1MB, step: 100kB',
    by: 'price: "100.00", per: 1MB, step: «100kB',
    expect:
      'rates.data-payg: the largest line (100000000000000 octets) would cost 10000000000000000 micros, which reaches 2^53; write a lower price, or the price of more units in `per`',
  },
  // Keys and names
  {
    replace: 'rates:',
    by: '«rate:',
    expect: 'unknown key `rate` in the file; did you mean `rates`?',
    schema: true,
  },
  {
    replace: 'ratingGroup: 30',
    by: '«rating-group: 30',
    expect: 'unknown key `rating-group` in offers.payg.rules[0]; did you mean `ratingGroup`?',
    schema: true,
  },
  {
    replace: 'rank: 10',
    by: '«weight: 10',
    expect:
      'unknown key `weight` in offers.bundle; known: rank, fee, eligible, sold, grants, rules, quota, finalUnit, pools, sessions',
    schema: true,
  },
  {
    replace: '{ unit: octets, price: "0.01", per: 1MB, step: 100kB }',
    by: '«{ unit: octets, price: "0.01", per: 1MB }',
    expect: 'rates.data-payg lacks `step`; add `step:` in octets',
  },
  {
    replace: '{ context: 32260@3gpp.org, unit',
    by: '«{ unit',
    expect: 'services.voice lacks `context`; add `context:`',
    schema: true,
  },
  {
    replace: '  voice-payg:',
    by: '  «voice payg:',
    expect:
      '`voice payg` cannot be a name; use up to 63 letters, digits, dots, dashes and underscores, beginning with a letter or digit',
    schema: true,
  },
  {
    replace: 'rank: 10',
    by: 'rank: «first',
    expect: 'offers.bundle.rank: `first` is not a whole number; write a number from 0 to 1000000',
    schema: true,
  },
  {
    replace: 'unit: octets, price',
    by: 'unit: «bytes, price',
    expect:
      'rates.data-payg.unit: `bytes` is not one of octets, seconds, events, money; write one of octets, seconds, events, money',
    schema: true,
  },
  {
    replace: '[data-payg]',
    by: '[«data-payq]',
    expect: 'there is no rate or bucket `data-payq`; did you mean `data-payg`?',
  },
  {
    replace: 'service: voice',
    by: 'service: «voce',
    expect: 'there is no service `voce`; did you mean `voice`?',
  },
  {
    replace: 'for: data',
    by: 'for: «video',
    expect: 'there is no service `video`; known: data, voice',
  },
  // Rules
  {
    replace: '[data-payg]',
    by: '[«voice-payg]',
    expect: 'the rate `voice-payg` counts seconds, but the service `data` octets; use a rate of octets',
  },
  {
    replace: 'service: voice, use: [',
    by: 'use: [«',
    expect: 'the rate `voice-payg` counts seconds, but the service `data` octets; add `service:` to the rule',
  },
  {
    replace: 'voice, use: [voice-payg]',
    by: 'voice, use: [«data-5gb, voice-payg]',
    expect: 'the bucket `data-5gb` is for data, not for the service `voice`; add voice to `for` of its grants',
  },
  {
    replace: '{ service: data, ratingGroup: 30, free: true',
    by: '«{ service: data, ratingGroup: 30, free: true, deny: true',
    expect: 'offers.payg.rules[0] has free and deny; write exactly one of use, free, deny',
    schema: true,
  },
  {
    replace: '{ service: data, ratingGroup: [10, none], use',
    by: '«{ service: data, ratingGroup: [10, none], deny: true, use',
    expect: 'offers.payg.rules[1] has use and deny; write exactly one of use, free, deny',
    schema: true,
  },
  {
    replace: '{ service: data, ratingGroup: 30, free: true',
    by: '«{ service: data, ratingGroup: 30',
    expect: 'offers.payg.rules[0] says nothing to do; write exactly one of use, free, deny',
    schema: true,
  },
  {
    replace: 'free: true',
    by: 'deny: «4012',
    expect:
      'offers.payg.rules[0].deny: `4012` is not true or 5003; write true (4010), or 5003 to black-list; else remove the key',
    schema: true,
  },
  {
    replace: 'free: true',
    by: 'free: «false',
    expect: 'offers.payg.rules[0].free: `false` is not true or 4011; write true, or 4011 for clients that need it',
    schema: true,
  },
  {
    replace: '[data-5gb, data-payg]',
    by: '[data-5gb, «data-5gb]',
    expect: '`data-5gb` is named twice; remove it here',
  },
  {
    replace: '[data-payg]',
    by: '«[]',
    expect: 'offers.payg.rules[1].use names nothing; write buckets and a rate, or `deny: true`',
    schema: true,
  },
  {
    replace: '[10, none]',
    by: '[10, «4294967296]',
    expect:
      'offers.payg.rules[1].ratingGroup[1]: `4294967296` is not a number; write 0 to 4294967295, none, or a list of these',
    schema: true,
  },
  // Grants
  {
    replace: ', every: 30d }',
    by: ' }\n    quota: { data: { size: «10 } }',
    expect:
      'offers.bundle.quota.data.size: `10` is not a size; write a size like 100kB (10^5 octets), 100KiB (102,400 octets), 5GB or 20B',
  },
  {
    replace: 'expires: 30d',
    by: 'expires: «soon',
    expect: 'offers.bundle.grants[0].expires: `soon` is not a duration; write 30d, period (of the fee) or never',
    schema: true,
  },
  {
    replace: '{ bucket: data-5gb, amount: 5GB, for: data, expires: 30d',
    by: '«{ bucket: data-5gb, amount: 5GB, for: data',
    expect: 'offers.bundle.grants[0] lacks `expires`; add `expires:`',
    schema: true,
  },
  {
    replace: ', every: 30d }\n    grants:\n      - { bucket: data-5gb, amount: 5GB, for: data, expires: 30d }',
    by: ' }\n    grants:\n      - { bucket: data-5gb, amount: 5GB, for: data, expires: «period }',
    expect: 'offers.bundle.grants[0].expires is `period`, but the offer has no fee.every; write a duration like 30d',
  },
  {
    replace: 'for: data',
    by: 'for: «[data, voice]',
    expect: 'the services of bucket `data-5gb` count octets and seconds; make a bucket of each unit',
  },
  {
    replace: 'expires: 30d }\n',
    by: 'expires: 30d }\n      - { bucket: «voice-payg, amount: 10m, for: voice, expires: never }\n',
    expect: '`voice-payg` is also the name of a rate; rename one of them',
  },
  // The language
  {
    replace: '  voice: {',
    by: '  «data: {',
    expect: 'Map keys must be unique; keep one of them',
  },
  {
    replace: '[data-payg]',
    by: '[«*nothing]',
    expect: 'offers.payg.rules[1].use[0]: there is no anchor `nothing`; define it with & above',
  },
  {
    replace: 'rank: 10',
    by: 'rank:«',
    expect: 'offers.bundle.rank has no value; write a whole number, or remove the key',
    schema: true,
  },
  {
    replace: 'rates:',
    by: 'rates: «payg\nx:',
    expect: 'rates is not a table; write indented `key: value` lines',
    schema: true,
  },
]

/** Planted in fullCatalog. */
export const fullMistakes: readonly PlantedMistake[] = [
  // Exchange rates
  {
    replace: 'USD: [',
    by: '«usd: [',
    expect: 'there is no currency `usd`; write USD',
  },
  {
    replace: 'USD: [',
    by: '«QQQ: [',
    expect: 'there is no currency `QQQ`; write its code of ISO 4217, like USD',
  },
  {
    replace: 'USD: [',
    by: '«EUR: [',
    expect: 'EUR is the currency of the catalog itself; remove it: it needs no exchange rate',
  },
  {
    replace: "USD: [{ from: 2026-01-01, rate: '0.92' }, { from: '2026-12-01T00:00', rate: '0.95' }]",
    by: 'USD: «[]',
    expect: "exchange.USD names nothing; write one like { from: 2026-01-01, rate: '0.92' }",
    schema: true,
  },
  {
    replace: "rate: '0.92'",
    by: 'rate: «0.92',
    expect: 'exchange.USD[0].rate: 0.92 is a bare number; quote it: "0.92"',
    schema: true,
  },
  {
    replace: "rate: '0.92'",
    by: "rate: «'0.12345678901'",
    expect:
      'exchange.USD[0].rate: `0.12345678901` is not an exchange rate; write a quoted decimal with at most ten decimals, like "0.92"',
    schema: true,
  },
  {
    replace: "rate: '0.92'",
    by: "rate: «'-0.92'",
    expect:
      'exchange.USD[0].rate: `-0.92` is not an exchange rate; write a quoted decimal with at most ten decimals, like "0.92"',
    schema: true,
  },
  {
    replace: "rate: '0.92'",
    by: "rate: «'0.0000000000'",
    expect: 'exchange.USD[0].rate is 0; write what 1 USD is worth, like "0.92"',
  },
  {
    replace: "{ from: 2026-01-01, rate: '0.92' }",
    by: "«{ rate: '0.92' }",
    expect: 'exchange.USD[0] lacks `from`; add `from:`',
    schema: true,
  },
  {
    replace: "from: '2026-12-01T00:00', rate",
    by: 'from: «2026-02-30, rate',
    expect: 'exchange.USD[1].from: there is no 2026-02-30; write a date and time that exist',
  },
  {
    replace: "from: '2026-12-01T00:00', rate",
    by: "from: «'2026-01-01T00:00', rate",
    expect: 'exchange.USD[1].from is not after the one before; write the rates in the order of their dates',
  },
  {
    // 0.02 becomes 20,000.00 a MB: 2^10^10 octets cost more than can be counted.
    replace: "rate: '0.95'",
    by: "rate: «'0.000001'",
    expect:
      'exchange.USD[1].rate: in USD the rate `data-home` cannot be charged: the largest line (100000000000000 octets) would cost 1000000000000000000 micros, which reaches 2^53; write a lower price, or the price of more units in `per`, or check the exchange rate',
  },
  {
    replace: 'account: { currency: USD }',
    by: 'account: { currency: «usd }',
    expect: 'tests[1].account.currency: `usd` is not a currency; write its three capital letters, like EUR',
    schema: true,
  },
  // The top
  {
    replace: 'Europe/Berlin\nlow',
    by: '«Europe/Berln\nlow',
    expect: 'there is no time zone `Europe/Berln`; did you mean `Europe/Berlin`?',
  },
  {
    replace: "'0.20']\n",
    by: "«'1.00']\n",
    expect:
      "lowBalance[1] is not below the one before; write them in the order in which they are reached: ['1.00', '0.20']",
  },
  // Services
  {
    replace: 'target: 300s',
    by: 'target: «3h',
    expect:
      'services.data.quota: target is above validity; the gateway reports then anyway: write a validity of 10800s at least',
  },
  {
    replace: 'context: 32274@3gpp.org',
    by: 'context: «32251@3gpp.org',
    expect: 'the context 32251@3gpp.org is already taken at catalog.yaml:5:21; name it in one service',
  },
  {
    replace: "size: '1.00'",
    by: 'size: «10',
    expect: 'services.shop.quota.size: 10 is a bare number; quote it: "10"',
  },
  {
    replace: 'unit: events }\n  shop',
    by: 'unit: «pieces }\n  shop',
    expect:
      'services.sms.unit: `pieces` is not one of octets, seconds, events, money; write one of octets, seconds, events, money',
    schema: true,
  },
  // Zones and destinations
  {
    replace: '22210] }',
    by: "«'26201'] }",
    expect: 'the PLMN 26201 is already in a zone at catalog.yaml:10:18; name it in one zone',
  },
  {
    replace: "'208*'",
    by: "«'*208'",
    expect: "zones.eu.plmn[0]: `*208` is not a PLMN; write MCC and MNC like '26201', or '262*' for all that begin so",
    schema: true,
  },
  {
    replace: '  home: {',
    by: "  «none: { plmn: ['001*'] }\n  home: {",
    expect: '`none` stands for no zone and no destination; use another name',
  },
  {
    replace: "'4916'] }",
    by: "«'49'] }",
    expect: 'the prefix 49 is already given to `de` at catalog.yaml:13:20; give it to one destination',
  },
  {
    replace: "'4915'",
    by: "«'+4915'",
    expect:
      'destinations.de-mobile.prefixes[0]: `+4915` is not a prefix; write its digits without + and blanks, like 4915',
    schema: true,
  },
  {
    replace: "{ prefixes: ['49'] }",
    by: '«{}',
    expect: 'destinations.de lacks `prefixes`; add `prefixes:`',
    schema: true,
  },
  {
    replace: '[destinations.csv]',
    by: '[«prefixes.csv]',
    expect: 'prefixes.csv cannot be read: no such file; the name is relative to this file',
  },
  // Time
  {
    replace: "'02-29']",
    by: "«'02-30']",
    expect:
      "holidays.de[2]: `02-30` is not a date that exists; write a date like '2026-12-25', or month and day of every year like '12-25'",
  },
  {
    replace: "'2026-08-31'",
    by: "«'2026-02-29'",
    expect:
      "holidays.bank[0]: `2026-02-29` is not a date that exists; write a date like '2026-12-25', or month and day of every year like '12-25'",
  },
  {
    replace: 'days: mon-fri',
    by: 'days: «mo-fr',
    expect:
      'calendars.peak.days: `mo-fr` is not a weekday; write mon, tue, wed, thu, fri, sat, sun, a range like mon-fri, or a list of these',
    schema: true,
  },
  {
    replace: "to: '20:00'",
    by: "to: «'08:00'",
    expect: 'calendars.peak: from and to are both 08:00; leave both out for the whole day, or write a later `to`',
  },
  {
    replace: "from: '22:00'",
    by: "from: «'25:00'",
    expect: "calendars.night.from: `25:00` is not a time of day; write it like '08:00', from '00:00' to '24:00'",
    schema: true,
  },
  {
    replace: 'Europe/London',
    by: '«London',
    expect: 'there is no time zone `London`; write a name of the IANA database, like Europe/Berlin',
  },
  {
    replace: 'only: de',
    by: 'only: «it',
    expect: 'there is no list of holidays `it`; known: de, bank',
  },
  {
    replace: "'2027-01-01T00:00' }",
    by: "«'2026-12-01' }",
    expect: 'calendars.promo: until is not after since; write a later `until`: it is not included itself',
  },
  {
    replace: 'since: 2026-12-01',
    by: 'since: «2026-11-31',
    expect: 'calendars.promo.since: there is no 2026-11-31; write a date and time that exist',
  },
  {
    replace: 'priority: 2',
    by: '«prio: 2',
    expect:
      'unknown key `prio` in calendars.peak; known: timezone, days, from, to, except, only, since, until, priority',
    schema: true,
  },
  // Counters
  {
    replace: 'reset: month }',
    by: 'reset: «monthly }',
    expect:
      'counters.month-data.reset: `monthly` is not a reset; write one of day, week, month, anniversary, never, or a duration from the activation on, like 30d',
    schema: true,
  },
  {
    replace: 'per: account',
    by: 'per: «family',
    expect: 'counters.month-data.per: `family` is not one of subscriber, account; write one of subscriber, account',
    schema: true,
  },
  {
    replace: 'reset: month }',
    by: 'reset: month, limit: «5GB }',
    expect:
      'the tiers of the rate `data-tiers` stand on the counter `month-data`, so that it cannot have `limit`; make another counter for that',
  },
  {
    replace: 'reset: month }',
    by: 'reset: month, steps: «[50%] }',
    expect: 'counters.month-data.steps has no use without a limit; add `limit:`, or remove it',
  },
  {
    replace: 'for: data, limit: 5GB',
    by: 'for: «voice, limit: 5GB',
    expect:
      'the counter `member-data` counts octets, but the service `voice` seconds; make a counter of seconds, or of money',
  },
  {
    replace: "limit: '5.00'",
    by: 'limit: «5GB',
    expect:
      'counters.day-roaming.limit: `5GB` is not an amount of money; write a quoted decimal with at most six decimals, like "0.01"',
    schema: true,
  },
  {
    replace: '[50%, 80%, 100%]',
    by: '[50%, «40%, 80%, 100%]',
    expect: 'counters.day-roaming.steps[1]: steps must ascend, above 0%; write them like [50%, 80%, 100%]',
  },
  {
    replace: 'zone: [eu], limit',
    by: 'zone: [«us], limit',
    expect: 'there is no zone `us`; known: home, eu',
  },
  {
    replace: 'then: stop, optIn',
    by: 'then: «block, optIn',
    expect: 'counters.day-roaming.then: `block` is not one of stop, free, tell; write one of stop, free, tell',
    schema: true,
  },
  {
    replace: '{ unit: octets, per: subscriber, reset: 30d',
    by: '«{ unit: octets, reset: 30d',
    expect: 'counters.member-data lacks `per`; add `per:`',
    schema: true,
  },
  // Rates
  {
    replace: '    counter: month-data',
    by: '    counter: «mont-data',
    expect: 'there is no counter `mont-data`; did you mean `month-data`?',
  },
  {
    replace: '    counter: month-data',
    by: '    counter: «talk',
    expect: 'there is no counter `talk`; known: month-data, day-roaming, member-data',
  },
  {
    replace: 'per: 60s, mode: volume',
    by: 'per: 60s, counter: «month-data, mode: volume',
    expect: 'the counter `month-data` counts octets, but the rate `voice-bands` seconds; use a counter of seconds',
  },
  {
    replace: '{ upTo: 1GB',
    by: '«{ upTo: 1000500kB',
    expect:
      'rates.data-tiers: tier 1 ends at 1.0005 GB, which is no multiple of the step 1 MB; write upTo: 1GB or 1001MB, or a step that fits',
  },
  {
    replace: '{ upTo: 2GB',
    by: '«{ upTo: 1GB',
    expect:
      'rates.data-tiers: tier 2 ends at 1 GB, not above the 1 GB of the one before; write the tiers in ascending order',
  },
  {
    replace: '      - { upTo: 2GB',
    by: "      - «{ price: '0.01' }\n      - { upTo: 2GB",
    expect: 'rates.data-tiers: tier 2 has no upTo, and more tiers follow; write where it ends, or leave the others out',
  },
  {
    replace: "{ price: '0.005', per: 1MB }",
    by: "«{ upTo: 3GB, price: '0.005', per: 1MB }",
    expect: 'rates.data-tiers: tier 3 ends at 3 GB, and no tier follows; leave out its upTo, or write a tier after it',
  },
  {
    replace: "{ upTo: 1GB, price: '0.02' }",
    by: "{ upTo: 1GB, price: «'0.0200001' }",
    expect:
      'rates.data-tiers.tiers[0].price: `0.0200001` is not an amount of money; write a quoted decimal with at most six decimals, like "0.01"',
    schema: true,
  },
  {
    replace: "{ upTo: 1GB, price: '0.02' }",
    by: "«{ upTo: 1GB, price: '0.02', per: 3MB }",
    expect:
      'rates.data-tiers: tier 1 makes a step of 1 MB at 0.02 per 3 MB cost 0.006666666…, which is no whole multiple of 0.000001; on a counter each step must cost one; write step: 3MB, or another price',
  },
  {
    replace: "{ upTo: 1GB, price: '0.02' }",
    by: '«{ upTo: 1GB }',
    expect: 'rates.data-tiers.tiers[0] lacks `price`; add `price:`',
    schema: true,
  },
  {
    replace: "{ upTo: 60s, price: '0.06' }",
    by: "«{ upTo: 60s, percent: 3%, price: '0.06' }",
    expect: 'rates.voice-bands.tiers[0] has price and percent; write exactly one of them',
    schema: true,
  },
  {
    replace: "cap: '2.00', round",
    by: 'cap: «2, round',
    expect: 'rates.data-home.cap: 2 is a bare number; quote it: "2"',
    schema: true,
  },
  {
    replace: "setup: '0.05', minimum: '0.10', cap: { amount: '3.00'",
    by: "setup: '0.05', minimum: '0.10', cap: «{ amount: '0.08'",
    expect: 'rates.data-eu: the cap 0.08 is below the minimum 0.10; write a cap of 0.10 at least, or a lower minimum',
  },
  {
    replace: "minimum: '0.10', cap: { amount: '3.00', then: stop }",
    by: "minimum: '0.10', cap: { amount: '3.00', then: «end }",
    expect: 'rates.data-eu.cap.then: `end` is not one of free, stop; write one of free, stop',
    schema: true,
  },
  {
    replace: 'round: nearest',
    by: 'round: «half',
    expect: 'rates.data-home.round: `half` is not one of up, down, nearest; write one of up, down, nearest',
    schema: true,
  },
  {
    replace: 'decimals: 2 }\n  data-eu',
    by: 'decimals: «7 }\n  data-eu',
    expect: 'rates.data-home.decimals is above 6; write at most 6',
    schema: true,
  },
  {
    replace: "cap: '2.00'",
    by: "cap: «'2.005'",
    expect:
      "rates.data-home: the cap 2.005 has more decimals than the 2 that prices are rounded to; write cap: '2.00' or '2.01', or decimals: 3",
  },
  {
    replace: "price: '0.01', per: 60s, step: 1s }\n  sms",
    by: "price: '0.01', per: 60s, step: 1s, mode: «volume }\n  sms",
    expect: 'rates.voice-night.mode has no use without tiers; write `tiers:`, or remove it',
  },
  {
    replace: "{ unit: events, price: '0.05' }",
    by: '«{ unit: events }',
    expect: 'rates.sms-each lacks `price`; add `price:`, `tiers:` or `percent:`',
    schema: true,
  },
  {
    replace: "{ unit: events, price: '0.05' }",
    by: "«{ unit: events, price: '0.05', percent: 1% }",
    expect: 'rates.sms-each has price and percent; write exactly one of price, tiers, percent',
    schema: true,
  },
  {
    replace: 'percent: 2.5%',
    by: 'percent: «0%',
    expect: 'rates.shop-share.percent: `0%` is not a percentage; write it like 2.5%, above 0% and up to 100%',
  },
  {
    replace: 'percent: 2.5%',
    by: 'percent: «120%',
    expect: 'rates.shop-share.percent: `120%` is not a percentage; write it like 2.5%, above 0% and up to 100%',
    schema: true,
  },
  {
    replace: "price: '0.05' }\n  shop",
    by: 'percent: «2% }\n  shop',
    expect: 'rates.sms-each.percent: a share can be taken of a value, not of events; write a price, or `unit: money`',
  },
  {
    replace: 'percent: 2.5%',
    by: "percent: 2.5%, per: «'1.00'",
    expect: 'rates.shop-share.per has no use with percent; remove it',
  },
  // Offers and grants
  {
    replace: 'until: 2027-01-01 }',
    by: 'until: «2025-01-01 }',
    expect: 'offers.all.sold: until is not after from; write a later `until`',
  },
  {
    replace: 'segment: [consumer, vip]',
    by: 'segment: «[]',
    expect: 'offers.all.eligible.segment names nothing; write a value or a list of values',
    schema: true,
  },
  {
    replace: ', blocker: true',
    by: ', blocker: «yes',
    expect: 'offers.all.grants[0].blocker: `yes` is not true or false; write true or false',
    schema: true,
  },
  {
    replace: 'min: 100MB',
    by: 'min: «3GB',
    expect: 'offers.all.grants[0].rollover: min is above max; write min ≤ max',
  },
  {
    replace: 'min: 100MB, max: 2GB',
    by: 'min: «6GB, max: 7GB',
    expect:
      'offers.all.grants[0].rollover: min is above the 5 GB that the bucket has; write a smaller min, or nothing ever rolls over',
  },
  {
    replace: 'paid: true }',
    by: 'rollover: «{ max: 10, for: 30d } }',
    expect:
      'offers.all.grants[1].rollover: the bucket never ends, so that nothing rolls over; remove it, or write when it ends',
  },
  {
    replace: 'max: 2GB, for: 30d }',
    by: 'max: 2GB, for: «period }',
    expect: 'offers.all.grants[0].rollover.for: `period` is not a duration; write a duration like 30s, 10m, 1h or 30d',
    schema: true,
  },
  {
    replace: 'warn: [80%, 100%]',
    by: 'warn: [80%, «50%]',
    expect:
      'offers.all.grants[0].warn[1] is not after the one before; write them in the order in which they are reached: [80%, 100%]',
  },
  {
    replace: 'warn: [80%, 100%]',
    by: 'warn: [«80, 100%]',
    expect:
      'offers.all.grants[0].warn[0]: `80` is not a share from 1% to 100%; write 80% (used), or what is left, like 100MB',
  },
  {
    replace: 'warn: [10m, 0s]',
    by: 'warn: [«2h, 0s]',
    expect: 'offers.all.grants[3].warn[0] is not below the amount of the grant; write what is left when it is told',
  },
  {
    replace: 'every: 30d }\n    eligible',
    by: 'every: «1ms }\n    eligible',
    expect: 'offers.all.fee.every is below 1s; write at least 1s',
  },
  {
    replace: 'unit: units, amount: 1000, for: { data: { each: 1MB, takes: 1 }, voice: { each: 60s, takes: 2 } }',
    by: 'unit: units, amount: 1000, for: «[data]',
    expect:
      'offers.all.grants[1].for does not say how many units each service takes; write it like { data: { each: 1MB, takes: 1 } }',
  },
  {
    replace: '{ bucket: points, unit: units, amount: 1000',
    by: '«{ bucket: points, amount: 1000',
    expect: 'offers.all.grants[1] lacks `unit`; add `unit:`, like units for points',
  },
  {
    replace: 'takes: 2 } }',
    by: 'takes: «2MB } }',
    expect: 'offers.all.grants[1].for.voice.takes: `2MB` is not a number of units; write a whole number without a unit',
  },
  {
    replace: 'voice: { each: 60s',
    by: '«vioce: { each: 60s',
    expect: 'there is no service `vioce`; did you mean `voice`?',
  },
  {
    replace: "bucket: bonus, unit: money, amount: '5.00'",
    by: "bucket: bonus, unit: money, «currency: USD, amount: '5.00'",
    expect: 'unknown key `currency` in offers.all.grants[2]; a catalog has one currency, at its top: remove it here',
    schema: true,
  },
  {
    replace: "amount: '5.00', for: [voice",
    by: 'amount: «5GB, for: [voice',
    expect:
      'offers.all.grants[2].amount: `5GB` is not an amount of money; write a quoted decimal with at most six decimals, like "0.01"',
    schema: true,
  },
  {
    replace: '{ after: 30d, from: first-use }',
    by: '«{ after: 30d, end: month }',
    expect: 'offers.all.grants[2].expires has after and end; write { after: 30d, from: first-use } or { end: month }',
    schema: true,
  },
  {
    replace: '{ after: 30d, from: first-use }',
    by: '{ end: month, from: «first-use }',
    expect: 'offers.all.grants[2].expires.from has no use without `after`; remove it',
  },
  {
    replace: 'amount: 1h, for: voice',
    by: 'amount: 1h, unit: seconds, for: [voice, «data]',
    expect:
      'the bucket `weekend` is of seconds, but the service `data` counts octets; write how much it takes: { data: { each: 1MB, takes: 1 } }',
  },
  {
    replace: 'amount: 1h, for: voice',
    by: 'amount: 1h, step: «7B, for: voice',
    expect: 'offers.all.grants[3].step: `7B` is not a time in whole seconds; write a duration like 30s, 10m, 1h or 30d',
  },
  {
    replace: 'starts: 2026-12-01, expires: { end: week, timezone: Europe/Rome }',
    by: 'starts: 2026-12-01, expires: «2026-11-30',
    expect: 'offers.all.grants[3]: expires is not after starts; write a later time',
  },
  {
    replace: 'Europe/Rome',
    by: '«Europe/Roma',
    expect: 'there is no time zone `Europe/Roma`; did you mean `Europe/Rome`?',
  },
  {
    replace: '    rules:\n',
    by: "      - { bucket: «main, unit: money, amount: '1.00', expires: 30d }\n    rules:\n",
    expect: '`main` is the name of the money of each account; use another name',
  },
  {
    replace: '    rules:\n',
    by: '      - { bucket: «data-5gb, amount: 1GB, for: data, zone: home, step: 1MB, expires: 30d }\n    rules:\n',
    expect: 'the bucket `data-5gb` has other conditions at catalog.yaml:51:19; write the same, or use another name',
  },
  {
    replace: '    rules:\n',
    by: '      - { bucket: «data-5gb, amount: 1GB, for: data, zone: [home, eu], expires: 30d }\n    rules:\n',
    expect:
      'usage takes other amounts of the bucket `data-5gb` at catalog.yaml:51:19; write the same, or use another name',
  },
  {
    replace: '    rules:\n',
    by: '      - { bucket: «data-5gb, unit: units, amount: 1, for: { data: { each: 1B, takes: 1 } }, expires: 30d }\n    rules:\n',
    expect: 'the bucket `data-5gb` is of octets at catalog.yaml:51:19; use another name',
  },
  // Rules
  {
    replace: 'apn: iot.*',
    by: 'apn: «iot.*.de',
    expect: 'offers.all.rules[0].apn: `iot.*.de` is not an APN; write it like internet, or iot.* for all that begin so',
    schema: true,
  },
  {
    replace: 'rat: [nb-iot, 9]',
    by: 'rat: [«nbiot, 9]',
    expect: 'there is no radio technology `nbiot`; did you mean `nb-iot`?',
    schema: true,
  },
  {
    replace: 'deny: 5003',
    by: 'deny: «5004',
    expect:
      'offers.all.rules[0].deny: `5004` is not true or 5003; write true (4010), or 5003 to black-list; else remove the key',
    schema: true,
  },
  {
    replace: 'zone: eu, when: peak',
    by: 'zone: «ue, when: peak',
    expect: 'there is no zone `ue`; did you mean `eu`?',
  },
  {
    replace: 'zone: eu, when: peak',
    by: 'zone: eu, when: «peek',
    expect: 'there is no calendar `peek`; did you mean `peak`?',
  },
  {
    replace: 'use: [data-5gb, points, data-tiers]',
    by: 'use: [data-5gb, «bonus, data-tiers]',
    expect: '`bonus` is a bucket of money: rates take from it by themselves, where its `for` fits; remove it here',
  },
  {
    replace: 'use: [data-5gb, points, data-tiers]',
    by: 'use: [data-5gb, data-eu, «data-tiers]',
    expect: 'a rule has one rate, and `data-eu` is named before; remove one of them',
  },
  {
    replace: 'destination: [de, de-mobile], when',
    by: 'destination: [de, «de-mobil], when',
    expect: 'there is no destination `de-mobil`; did you mean `de-mobile`?',
  },
  {
    replace: 'service: sms, serviceIdentifier',
    by: 'service: [sms, «mms], serviceIdentifier',
    expect: 'there is no service `mms`; did you mean `sms`?',
  },
  {
    replace: '{ service: sms, serviceIdentifier: [1, none], use: [',
    by: '{ service: [sms, voice], serviceIdentifier: [1, none], use: [«',
    expect: 'the rate `sms-each` counts events, but the service `voice` seconds; use a rate of seconds',
  },
  {
    replace: '{ card: [child] }',
    by: '«[child]',
    expect: 'offers.all.rules[3].subscriber is not a table; write indented `key: value` lines',
    schema: true,
  },
  {
    replace: '[1, none]',
    by: '[«one, none]',
    expect:
      'offers.all.rules[8].serviceIdentifier[0]: `one` is not a number; write 0 to 4294967295, none, or a list of these',
    schema: true,
  },
  {
    replace: 'use: shop-share',
    by: 'use: «shop-shared',
    expect: 'there is no rate or bucket `shop-shared`; did you mean `shop-share`?',
  },
  // Tests
  {
    replace: 'offer: all',
    by: 'offer: «al',
    expect: 'there is no offer `al`; did you mean `all`?',
  },
  {
    replace: '    offers: [all]',
    by: '    offers: [all]\n    «offer_s: [all]',
    expect: 'unknown key `offer_s` in tests[1]; did you mean `offers`?',
    schema: true,
  },
  {
    replace: 'given: { buckets: { data-5gb: 1GB',
    by: 'given: { buckets: { «data5gb: 1GB',
    expect: 'there is no bucket `data5gb`; did you mean `data-5gb`?',
  },
  {
    replace: "bonus: '0.50'",
    by: 'bonus: «0.50',
    expect: 'tests[0].given.buckets.bonus: 0.50 is a bare number; quote it: "0.50"',
    schema: true,
  },
  {
    replace: '{ month-data: 995MB',
    by: '{ «monthdata: 995MB',
    expect: 'there is no counter `monthdata`; did you mean `month-data`?',
  },
  {
    replace: 'service: data, ratingGroup: 10, octets: 1GB',
    by: 'service: data, ratingGroup: 10, seconds: «60s',
    expect: 'tests[0].use.seconds: the service `data` counts octets; write `octets:`',
  },
  {
    replace: 'seconds: 90s',
    by: 'seconds: «90',
    expect: 'tests[1].use[0].seconds: `90` is not a time in whole seconds; write 90s',
    schema: true,
  },
  {
    replace: '{ service: sms, events: 1, serviceIdentifier',
    by: '«{ service: sms, serviceIdentifier',
    expect: 'tests[1].use[1] lacks `events`; add `events:` with the amount that is used',
    schema: true,
  },
  {
    replace: "at: '2026-12-24T23:50'",
    by: 'at: «tomorrow',
    expect: "tests[0].at: `tomorrow` is not a local date and time; write it like 2026-12-24 or '2026-12-24T23:50'",
    schema: true,
  },
  {
    replace: 'result: 4012',
    by: 'result: «4013',
    expect: 'tests[1].expect.result: `4013` is not a result; write one of granted, 4010, 4011, 4012, 5003, 5031',
    schema: true,
  },
  {
    replace: "'day-roaming 80%'",
    by: "«'day-roaming 90%'",
    expect: 'the counter `day-roaming` has no step 90%; it has 50%, 80%, 100%',
  },
  {
    replace: "'data-5gb 100%'",
    by: "«'data-6gb 100%'",
    expect: 'there is no counter or bucket `data-6gb`; did you mean `data-5gb`?',
  },
  {
    replace: "'main 1.00'",
    by: '«main',
    expect:
      'tests[0].expect.events[2]: `main` is not an event; write a counter, a bucket or main, and the step: day-roaming 80%',
    schema: true,
  },
  {
    replace: '{ result: 4012 }',
    by: '«{}',
    expect: "tests[1].expect expects nothing; write what must come out, like { cost: '0.05' }",
  },
  {
    replace: "plmn: '20801'",
    by: "plmn: «'208'",
    expect: "tests[0].use.plmn: `208` is not a PLMN; write MCC and MNC like '26201'",
    schema: true,
  },
  {
    replace: 'rat: eutran',
    by: 'rat: «lte',
    expect: 'there is no radio technology `lte`; did you mean `lte-m`?',
    schema: true,
  },
  // Arithmetic
  {
    replace: "mode: volume, tiers: [{ upTo: 60s, price: '0.06' }",
    by: "tiers: [«{ upTo: 60s, price: '0.06', per: 7s }",
    expect:
      'rates.voice-bands: tier 1 costs 0.514285714… when it is full (1 min at 0.06 per 7 s), which is no whole multiple of 0.000001; write upTo: 56s or 63s, or another price',
  },
  {
    replace: '    step: 1MB\n    per',
    by: '    step: 1MB\n    first: «500kB\n    per',
    expect: 'rates.data-tiers: the first 500 kB are no multiple of the step 1 MB, which tiers need; write first: 1MB',
  },
  {
    replace: "price: '0.01', per: 60s, step: 1s }\n  sms",
    by: "price: '0.01', per: 60s, step: 1s, setup: «'0.001', decimals: 2 }\n  sms",
    expect:
      "rates.voice-night: the setup 0.001 has more decimals than the 2 that prices are rounded to; write setup: '0.01', or decimals: 3",
  },
  {
    replace: "{ unit: events, price: '0.05' }",
    by: "{ unit: events, price: «'100.00' }",
    expect:
      'rates.sms-each: the largest line (100000000 events) would cost 10000000000000000 micros, which reaches 2^53; write a lower price, or the price of more units in `per`',
  },
  {
    replace: 'data: { each: 1MB, takes: 1 }',
    by: 'data: { each: 1B, takes: «1000 }',
    expect:
      'offers.all.grants[1].for.data: the largest line would take more than can be counted; write a larger `each`',
  },
  {
    replace: 'amount: 5GB, for: [data]',
    by: 'amount: «200TB, for: [data]',
    expect: 'offers.all.grants[0].amount is above the 100 TB that one line may carry; write less',
  },
  {
    replace: "{ upTo: 1GB, price: '0.02' }",
    by: "{ upTo: «200TB, price: '0.02' }",
    expect: 'rates.data-tiers.tiers[0].upTo is above the 100 TB that one line may carry; write less',
  },
  {
    replace: "price: '0.02', per: 1MB, step: 1MB",
    by: "price: '0.02', per: 1MB, step: «60s",
    expect:
      'rates.data-eu.step: `60s` is not a size; write a size like 100kB (10^5 octets), 100KiB (102,400 octets), 5GB or 20B',
    schema: true,
  },
  {
    replace: "tiers: [{ upTo: 60s, price: '0.06' }, { price: '0.03' }]",
    by: "tiers: «[{ upTo: 60s, price: '0.00' }, { price: '0.00' }]",
    expect: 'rates.voice-bands.tiers cost nothing; write `free: true` in the rule instead of a rate',
  },
  {
    replace: "tiers: [{ upTo: 60s, price: '0.06' }, { price: '0.03' }]",
    by: 'tiers: «[]',
    expect: 'rates.voice-bands.tiers names nothing; write one tier at least',
    schema: true,
  },
  {
    replace: 'quota: { data: { size: 50MB } }',
    by: 'quota: { data: { «<<: { size: 50MB } } }',
    expect: 'unknown key `<<` in offers.all.quota.data; YAML 1.2 has no merge keys: write the keys out',
    schema: true,
  },
  {
    replace: 'quota: { data: { size: 50MB } }',
    by: 'quota: { «date: { size: 50MB } }',
    expect: 'there is no service `date`; did you mean `data`?',
  },
  {
    replace: '{ action: terminate }',
    by: '{ action: «redirekt }',
    expect:
      'offers.all.finalUnit.action: `redirekt` is not one of terminate, none, redirect, restrict; did you mean `redirect`?',
    schema: true,
  },
  {
    replace: 'finalUnit: { action: terminate }',
    by: 'finalUnit: «{ action: redirect }',
    expect: 'offers.all.finalUnit does not say where to redirect; add `to:` with a URL, SIP URI or IP address',
  },
  {
    replace: '{ action: terminate }',
    by: '{ action: redirect, to: «topup }',
    expect:
      'offers.all.finalUnit.to: `topup` is not an address; write a URL like http://topup.example/, a SIP URI, or an IP address',
    schema: true,
  },
  {
    replace: '{ action: terminate }',
    by: "{ action: redirect, to: «'1.2.3.999' }",
    expect: 'offers.all.finalUnit.to: `1.2.3.999` is no address; write a URL, a SIP URI, or an IP address',
  },
  {
    replace: '{ action: terminate }',
    by: "{ action: terminate, to: «'http://a.example/' }",
    expect: 'offers.all.finalUnit.to is for action: redirect; remove it',
  },
  {
    replace: '{ action: terminate }',
    by: '{ action: none, validity: «5m }',
    expect: 'offers.all.finalUnit.validity has no use with none; remove it',
  },
  {
    replace: '{ action: terminate }',
    by: '{ action: restrict, filters: [«all] }',
    expect:
      'offers.all.finalUnit.filters[0]: `all` is not an IPFilterRule; write it like "permit out ip from 192.0.2.1 to any"',
    schema: true,
  },
  {
    replace: '{ action: terminate }',
    by: '{ action: restrict, validity: «1500ms }',
    expect: 'offers.all.finalUnit.validity is no whole number of seconds; write it like 5m',
  },
  {
    replace: 'quota: { data: { size: 50MB } }',
    by: 'quota: { data: { size: 50MB, consumption: «10s } }',
    expect: 'offers.all.quota.data.consumption is for services in seconds; remove it',
  },
  {
    replace: 'quota: { data: { size: 50MB } }',
    by: 'quota: { voice: { consumption: «10s, timeMechanism: { type: dtp, interval: 60s } } }',
    expect: 'offers.all.quota.voice has consumption and timeMechanism; remove one: the mechanism would win',
  },
  {
    replace: 'quota: { data: { size: 50MB } }',
    by: 'quota: { data: { triggers: [«location, tac] } }',
    expect: 'the trigger location includes tac; remove one of them',
  },
  {
    replace: 'quota: { data: { size: 50MB } }',
    by: 'quota: { data: { triggers: [rat, «none] } }',
    expect: 'offers.all.quota.data.triggers[1] is none beside other triggers; remove it',
  },
  {
    replace: 'quota: { data: { size: 50MB } }',
    by: 'quota: { data: { envelope: «some } }',
    expect:
      'offers.all.quota.data.envelope: `some` is not one of none, times, volume, events, both; write one of none, times, volume, events, both',
    schema: true,
  },
  {
    replace: 'quota: { data: { size: 50MB } }',
    by: 'quota: { data: { holding: «1500ms } }',
    expect: 'offers.all.quota.data.holding is no whole number of seconds; write it like 300s or 10m',
  },
  {
    replace: 'quota: { data: { size: 50MB } }',
    by: "pools: { a: { id: 1, price: '0.01' }, b: { id: «1, price: '0.02' } }",
    expect: 'the pool `a` has the id 1, too; write another number',
  },
  {
    replace: 'use: [data-5gb, points, data-tiers] }',
    by: 'use: [data-5gb, points, data-tiers], pool: «internet }',
    expect: 'there is no pool `internet`; define it under `pools:` of the offer',
  },
]
