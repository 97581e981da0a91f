/**
 * Scripts of the simulated gateway: a YAML file that says what to send, what to expect, and what to do in between. Read here
 * with every fault as `file:line:column`; play.ts does what they say. The shipped ones are in config/examples/flows/.
 */
import {
  fault,
  isTable,
  meant,
  parseYaml,
  readBoolean,
  readChoice,
  readEntries,
  readFields,
  readInteger,
  readList,
  readParsed,
  readText,
  whereIs,
  type Fault,
  type Value,
} from '../config/yaml.js'
import { durationHint, parseDuration, parseSize } from '../config/quantity.js'
import { currencyNumber } from '../currency.js'
import type { AvpDefinition, Dictionary } from '../diameter/dictionary.js'
import { ResultCode } from '../diameter/errors.js'
import { FLAG } from '../diameter/header.js'
import type { AvpInput } from '../diameter/tree.js'
import { parseMoney, type UnitType } from '../units.js'
import {
  Reason,
  type Information,
  type RequestedAction,
  type RequestType,
  type ServiceInput,
  type Side,
  type SubscriptionIdType,
  type UnitAmounts,
  type UsedUnits,
} from './ccr.js'
import { parsePath, type Path } from './avp-path.js'

export interface Script {
  readonly file: string
  readonly name: string
  readonly about: string
  readonly gateways: ReadonlyMap<string, GatewaySpec>
  readonly sessions: ReadonlyMap<string, SessionSpec>
  readonly steps: readonly Step[]
}

export interface GatewaySpec {
  readonly name: string
  readonly host: string
  readonly realm: string
  /** Undefined: the realm that the server names in its CEA. */
  readonly destinationRealm: string | undefined
  readonly stateId: number | undefined
}

export interface SessionSpec {
  readonly name: string
  readonly gateway: string | undefined
  readonly id: string | undefined
  readonly context: string
  readonly subscribers: readonly (readonly [SubscriptionIdType, string])[]
  readonly information: Information
  /** What `use` counts. */
  readonly unit: UnitType
  readonly currency: number | undefined
}

export interface Place {
  readonly file: string
  readonly line: number
  readonly column: number
}

/** A value that a step before it saved. */
export interface Saved {
  readonly saved: string
}

/** AVPs as the script has them: values of earlier answers are put in when they are sent. */
export type ScriptAvp = readonly [name: string, value: AvpInput | Saved | readonly ScriptAvp[]]

export interface CcrStep {
  readonly kind: 'ccr'
  readonly type: RequestType
  readonly session: string | undefined
  readonly over: string | undefined
  readonly number: number | undefined
  readonly services: readonly ScriptService[] | undefined
  /** Units at command level. */
  readonly units: ScriptService | undefined
  readonly action: RequestedAction | undefined
  readonly cause: number | undefined
  readonly subscribers: readonly (readonly [SubscriptionIdType, string])[] | undefined
  readonly information: Information
  /** Event-Timestamp: false leaves it out. */
  readonly timestamp: boolean
  readonly destinationHost: string | undefined
  readonly avps: readonly ScriptAvp[]
  readonly without: readonly string[]
  readonly retransmitted: boolean
  /** The gateway never sees the answer. */
  readonly lost: boolean
}

export type ScriptService = Omit<ServiceInput, 'refund'> & { readonly refund?: Buffer | Saved }

export type StepAction =
  | { readonly kind: 'connect'; readonly gateway: string | undefined; readonly to: string | undefined; readonly as: string | undefined; readonly stateId: number | undefined; readonly cer: boolean }
  | { readonly kind: 'disconnect' | 'abort'; readonly connection: string | undefined }
  | CcrStep
  | { readonly kind: 'send'; readonly command: string; readonly flags: number | undefined; readonly avps: readonly ScriptAvp[]; readonly over: string | undefined }
  | { readonly kind: 'raw'; readonly octets: Buffer; readonly over: string | undefined }
  | { readonly kind: 'repeat'; readonly session: string | undefined; readonly number: number | undefined; readonly over: string | undefined; readonly retransmitted: boolean; readonly lost: boolean }
  | { readonly kind: 'await'; readonly command: 'RAR' | 'ASR'; readonly session: string | undefined; readonly answer: number | 'silence'; readonly withinMs: number }
  | { readonly kind: 'wait'; readonly ms: number }
  | { readonly kind: 'until'; readonly minute: number }
  | { readonly kind: 'start'; readonly session: string | undefined; readonly groups: readonly number[] }
  | { readonly kind: 'use' | 'packets'; readonly session: string | undefined; readonly group: number | undefined; readonly amount: bigint }
  | { readonly kind: 'change'; readonly session: string | undefined; readonly information: Information }
  | { readonly kind: 'ask'; readonly session: string | undefined; readonly group: number | undefined }
  | { readonly kind: 'stop' | 'forget'; readonly session: string | undefined }
  | { readonly kind: 'operator'; readonly words: readonly string[] }
  | { readonly kind: 'say'; readonly text: string }
  | { readonly kind: 'parallel'; readonly steps: readonly Step[] } // prettier-ignore

export interface Step {
  readonly place: Place
  readonly action: StepAction
  readonly expect: Expected
  /** Names for values of the answer. */
  readonly save: readonly (readonly [name: string, path: Path])[]
}

/** What must be so after a step; what is absent is not looked at. */
export interface Expected {
  /** `expect: any`: also that it is refused. */
  readonly any: boolean
  /** Result-Code at command level. */
  readonly code: number | undefined
  /** No answer comes, or the connection ends. */
  readonly silence: boolean
  readonly closed: boolean
  /** Like the answer to the request that it repeats. */
  readonly same: boolean
  readonly withinMs: number | undefined
  readonly errorBit: boolean | undefined
  readonly services: readonly ExpectedService[] | 'none' | undefined
  readonly avps: readonly ExpectedAvp[]
  /** Of `use`: units that passed; of the line after it. */
  readonly passed: bigint | undefined
  readonly state: string | undefined
  /** Of an operator's command: exit status, and values of its answer. */
  readonly status: number | undefined
  readonly fields: readonly (readonly [path: string, value: string, place: Place])[]
}

export interface ExpectedService {
  readonly place: Place
  readonly group: number | undefined
  readonly service: readonly number[] | undefined
  readonly code: number | undefined
  readonly granted: ExpectedAmount | 'none' | 'some' | undefined
  readonly validity: number | 'some' | undefined
  readonly threshold: bigint | undefined
  readonly final: 'terminate' | 'redirect' | 'restrict' | 'none' | undefined
  readonly redirect: string | undefined
  readonly avps: readonly ExpectedAvp[]
}

export interface ExpectedAmount {
  readonly unit: UnitType
  readonly amount: bigint
}

export interface ExpectedAvp {
  readonly place: Place
  readonly path: Path
  readonly text: string
  /** `present`, `absent`, or the value as the script has it: compared by the AVP's type. */
  readonly value: string
}

const sessionKeys = ['gateway', 'id', 'context', 'subscriber', 'unit', 'currency'] as const
const informationKeys = [
  ...(['plmn', 'apn', 'rat', 'called', 'recipients', 'from', 'size', 'messageType', 'direction', 'sipMethod'] as const),
  ...(['servingNode', 'location', 'timeZone'] as const),
] as const
const serviceKeys = [
  ...(['group', 'service', 'ask', 'used', 'reason', 'triggers', 'envelopes', 'refund'] as const),
] as const
const ccrKeys = [
  ...(['session', 'over', 'number', 'services', 'units', 'action', 'cause', 'subscriber', 'timestamp'] as const),
  ...(['destinationHost', 'avps', 'without', 'retransmitted', 'lost'] as const),
  ...informationKeys,
] as const
const verbs = [
  ...(['connect', 'disconnect', 'abort', 'initial', 'update', 'terminate', 'event', 'send', 'raw', 'repeat'] as const),
  ...(['await', 'wait', 'until', 'start', 'use', 'packets', 'change', 'ask', 'stop', 'forget', 'operator'] as const),
  ...(['say', 'parallel'] as const),
] as const

const reasonNames: Readonly<Record<string, number>> = {
  threshold: Reason.THRESHOLD,
  'holding-time': Reason.QHT,
  final: Reason.FINAL,
  'quota-exhausted': Reason.QUOTA_EXHAUSTED,
  'validity-time': Reason.VALIDITY_TIME,
  'other-quota-type': Reason.OTHER_QUOTA_TYPE,
  'condition-change': Reason.RATING_CONDITION_CHANGE,
  forced: Reason.FORCED_REAUTHORISATION,
  'pool-exhausted': Reason.POOL_EXHAUSTED,
}
/** These stand beside the units: TS 32.299 section 7.2.175. */
const reasonsInUnits: ReadonlySet<number> = new Set([0, 3, 5, 8])
const triggerNames: Readonly<Record<string, number>> = { node: 1, qos: 2, location: 3, rat: 4, timezone: 5 }
const ratNames: Readonly<Record<string, number>> = { utran: 1, geran: 2, wlan: 3, eutran: 6, nr: 51 }
const causeNames: Readonly<Record<string, number>> = {
  ...{ logout: 1, 'service-not-provided': 2, 'bad-answer': 3, administrative: 4, 'link-broken': 5, 'auth-expired': 6 },
  ...{ 'user-moved': 7, 'session-timeout': 8 },
}
const actionNames = ['debit', 'refund', 'check-balance', 'price'] as const
const idTypes: readonly SubscriptionIdType[] = ['e164', 'imsi', 'sip', 'nai', 'private']
const sides: readonly Side[] = ['before', 'after', 'indeterminate']
const amountHint = 'write octets like 10MiB, seconds like 60s, events like 3, or money like "0.50 EUR"'

export interface ScriptOptions {
  readonly dictionary: Dictionary
  /** Values of the script's variables that are said elsewhere. */
  readonly set?: Readonly<Record<string, string>>
  /** `${run}`: another one each time, so that a script may be played again. Digits. */
  readonly run: string
}

/** Reads a script. The faults are those of the whole file. */
export function readScript(
  file: string,
  text: string,
  options: ScriptOptions,
): { readonly script: Script } | { readonly faults: readonly Fault[] } {
  const faults: Fault[] = []
  const root = parseYaml(file, text, faults)
  const script = root && new ScriptReader(options).read(root)
  if (script && faults.length === 0) return { script }
  return { faults: faults.sort((a, b) => a.line - b.line || a.column - b.column) }
}

class ScriptReader {
  private readonly variables = new Map<string, string>()
  /** Names that a step saves, as far as read. */
  private readonly saved = new Set<string>()
  private readonly gateways = new Map<string, GatewaySpec>()
  private readonly sessions = new Map<string, SessionSpec>()
  private readonly connections = new Set<string>()

  constructor(private readonly options: ScriptOptions) {}

  read(root: Value): Script {
    const keys = ['name', 'about', 'vars', 'gateways', 'sessions', 'steps'] as const
    const { name, about, vars, gateways, sessions, steps } = readFields(root, keys, ['steps'])
    this.variables.set('run', this.options.run)
    for (const { name: key, value, key: at } of vars ? (readEntries(vars) ?? []) : []) {
      if (!/^\w+$/.test(key)) fault(at, `\`${key}\` cannot be a variable`, 'use letters, digits and underscores')
      else this.variables.set(key, this.options.set?.[key] ?? this.text(value) ?? '')
    }
    for (const key of Object.keys(this.options.set ?? {})) {
      if (this.variables.has(key)) continue
      fault(vars ?? root, `the script has no variable \`${key}\``, meant(key, [...this.variables.keys()]))
    }
    for (const entry of gateways ? (readEntries(gateways) ?? []) : []) {
      this.gateways.set(entry.name, this.gateway(entry.name, entry.value))
    }
    if (this.gateways.size === 0) this.gateways.set('gateway', defaultGateway('gateway'))
    for (const entry of sessions ? (readEntries(sessions) ?? []) : []) {
      this.sessions.set(entry.name, this.session(entry.name, entry.value))
    }
    return {
      file: root.source.file,
      name: (name && this.text(name)) ?? '',
      about: (about && this.text(about)) ?? '',
      gateways: this.gateways,
      sessions: this.sessions,
      steps: steps ? this.steps(steps) : [],
    }
  }

  // -------------------------------------------------------------------------------------------------------- the top

  private gateway(name: string, value: Value): GatewaySpec {
    const { host, realm, destinationRealm, stateId } = readFields(value, [
      'host',
      'realm',
      'destinationRealm',
      'stateId',
    ])
    const plain = defaultGateway(name)
    return {
      name,
      host: (host && this.text(host)) ?? plain.host,
      realm: (realm && this.text(realm)) ?? plain.realm,
      destinationRealm: destinationRealm && this.text(destinationRealm),
      stateId: stateId && this.number(stateId),
    }
  }

  private session(name: string, value: Value): SessionSpec {
    const fields = readFields(value, [...sessionKeys, ...informationKeys])
    const { gateway, id, context, subscriber, unit, currency } = fields
    return {
      name,
      gateway: gateway && this.known(gateway, this.gateways, 'gateway', 'gateways'),
      id: id && this.text(id),
      context: (context && this.text(context)) ?? '32251@3gpp.org',
      subscribers: subscriber ? this.subscribers(subscriber) : [],
      information: this.information(fields),
      unit: (unit && readChoice(unit, ['octets', 'seconds', 'events', 'money'])) ?? 'octets',
      currency: currency && this.currency(currency),
    }
  }

  private subscribers(value: Value): (readonly [SubscriptionIdType, string])[] {
    if (!isTable(value)) {
      const text = this.text(value)
      return text === undefined || text === 'none' ? [] : [['e164', text]]
    }
    return Object.entries<Value>(readFields(value, idTypes)).flatMap(([type, each]) =>
      readList(each).flatMap((one): (readonly [SubscriptionIdType, string])[] => {
        const text = this.text(one)
        return text === undefined ? [] : [[type as SubscriptionIdType, text]]
      }),
    )
  }

  private information(fields: Partial<Record<(typeof informationKeys)[number], Value>>): Information {
    const { plmn, apn, rat, called, recipients, from, size, messageType, direction, sipMethod } = fields
    const { servingNode, location, timeZone } = fields
    const all: Record<string, unknown> = {
      plmn:
        plmn &&
        this.parsed(plmn, 'MCC and MNC', text => (/^\d{5,6}$/.test(text) ? text : undefined), 'write it like 26201'),
      apn: apn && this.text(apn),
      rat: rat && this.nameOrNumber(rat, 'a radio access', ratNames),
      called: called && this.text(called),
      recipients: recipients && readList(recipients).flatMap(each => this.text(each) ?? []),
      from: from && this.text(from),
      size: size && Number(this.parsed(size, 'a size', parseSize, 'write a size like 30KiB') ?? 0n),
      messageType: messageType && this.number(messageType),
      direction: direction && readChoice(direction, ['originating', 'terminating']),
      sipMethod: sipMethod && this.text(sipMethod),
      servingNode: servingNode && this.text(servingNode),
      location: location && this.hex(location),
      timeZone: timeZone && this.hex(timeZone),
    }
    return Object.fromEntries(Object.entries(all).filter(([, each]) => each !== undefined))
  }

  // ---------------------------------------------------------------------------------------------------------- steps

  private steps(value: Value): Step[] {
    return readList(value).flatMap(each => this.step(each) ?? [])
  }

  private step(value: Value): Step | undefined {
    if (!isTable(value)) return fault(value, 'a step is a table', `write \`- verb: …\` with one of ${verbs.join(', ')}`)
    const fields = readFields(value, [...verbs, 'expect', 'save'])
    const named = verbs.filter(verb => fields[verb] !== undefined)
    const [verb] = named
    // An unknown key is a fault already.
    const unknown = (readEntries(value) ?? []).some(({ name }) => !(name in fields))
    if (verb === undefined && unknown) return undefined
    if (verb === undefined) return fault(value, 'a step without a verb', `add one of ${verbs.join(', ')}`)
    if (named.length > 1) return fault(value, `a step with ${named.join(' and ')}`, 'make each a step of its own')
    const action = this.action(verb, fields[verb]!)
    const expect = this.expected(fields.expect, action)
    const save = fields.save ? this.saves(fields.save) : []
    return action && { place: whereIs(value), action, expect, save }
  }

  private action(verb: (typeof verbs)[number], value: Value): StepAction | undefined {
    switch (verb) {
      case 'connect': {
        const { gateway, to, as, stateId, cer } = readFields(value, ['gateway', 'to', 'as', 'stateId', 'cer'])
        const server = to && this.text(to)
        const name = as ? this.text(as) : server
        if (name !== undefined) this.connections.add(name)
        return {
          kind: 'connect',
          gateway: gateway && this.known(gateway, this.gateways, 'gateway', 'gateways'),
          to: server,
          as: name,
          stateId: stateId && this.number(stateId),
          cer: (cer && readBoolean(cer)) ?? true,
        }
      }
      case 'disconnect':
      case 'abort':
        return { kind: verb, connection: this.optional(value, each => this.connection(each)) }
      case 'initial':
      case 'update':
      case 'terminate':
      case 'event':
        return this.ccr(verb, value)
      case 'send': {
        const { command, flags, avps, over } = readFields(value, ['command', 'flags', 'avps', 'over'], ['command'])
        return {
          kind: 'send',
          command: (command && this.command(command)) ?? '',
          flags: flags && this.flags(flags),
          avps: avps ? this.avps(avps) : [],
          over: over && this.connection(over),
        }
      }
      case 'raw': {
        if (!isTable(value)) return { kind: 'raw', octets: this.hex(value) ?? Buffer.alloc(0), over: undefined }
        const { hex, over } = readFields(value, ['hex', 'over'], ['hex'])
        return {
          kind: 'raw',
          octets: (hex && this.hex(hex)) ?? Buffer.alloc(0),
          over: over && this.connection(over),
        }
      }
      case 'repeat': {
        const keys = ['session', 'number', 'over', 'retransmitted', 'lost'] as const
        const { session, number, over, retransmitted, lost } = readFields(value, keys)
        return {
          kind: 'repeat',
          session: session && this.known(session, this.sessions, 'session', 'sessions'),
          number: number && this.number(number),
          over: over && this.connection(over),
          retransmitted: (retransmitted && readBoolean(retransmitted)) ?? true,
          lost: (lost && readBoolean(lost)) ?? false,
        }
      }
      case 'await': {
        const inside = isTable(value) ? readFields(value, ['command', 'session', 'answer', 'within'], ['command']) : {}
        const command = isTable(value) ? inside.command : value
        return {
          kind: 'await',
          command: (command && readChoice(command, ['RAR', 'ASR'])) ?? 'RAR',
          session: inside.session && this.known(inside.session, this.sessions, 'session', 'sessions'),
          answer: (inside.answer && this.codeOrSilence(inside.answer)) ?? 2001,
          withinMs: (inside.within && this.duration(inside.within)) ?? 5000,
        }
      }
      case 'wait':
        return { kind: 'wait', ms: this.duration(value) ?? 0 }
      case 'until':
        return {
          kind: 'until',
          minute: this.parsed(value, 'a time of day', minuteOf, 'write it like "23:50" (UTC)') ?? 0,
        }
      case 'start': {
        const { session, groups } = readFields(value, ['session', 'groups'], ['groups'])
        return {
          kind: 'start',
          session: session && this.known(session, this.sessions, 'session', 'sessions'),
          groups: groups ? readList(groups).flatMap(each => this.number(each) ?? []) : [],
        }
      }
      case 'use':
      case 'packets': {
        const { session, group, amount } = readFields(value, ['session', 'group', 'amount'], ['amount'])
        return {
          kind: verb,
          session: session && this.known(session, this.sessions, 'session', 'sessions'),
          group: group && this.number(group),
          amount: (amount && this.amount(amount)?.amount) ?? 0n,
        }
      }
      case 'change': {
        const fields = readFields(value, ['session', ...informationKeys])
        return {
          kind: 'change',
          session: fields.session && this.known(fields.session, this.sessions, 'session', 'sessions'),
          information: this.information(fields),
        }
      }
      case 'ask': {
        const { session, group } = readFields(value, ['session', 'group'])
        return {
          kind: 'ask',
          session: session && this.known(session, this.sessions, 'session', 'sessions'),
          group: group && this.number(group),
        }
      }
      case 'stop':
      case 'forget':
        return {
          kind: verb,
          session: this.optional(value, each => this.known(each, this.sessions, 'session', 'sessions')),
        }
      case 'operator':
        return { kind: 'operator', words: this.words(value) }
      case 'say':
        return { kind: 'say', text: this.text(value) ?? '' }
      case 'parallel':
        return { kind: 'parallel', steps: this.steps(value) }
    }
  }

  private ccr(type: RequestType, value: Value): CcrStep {
    const fields = readFields(value, ccrKeys)
    const { session, over, number, services, units, action, cause, subscriber, timestamp } = fields
    const { destinationHost, avps, without, retransmitted, lost } = fields
    return {
      kind: 'ccr',
      type,
      session: session && this.known(session, this.sessions, 'session', 'sessions'),
      over: over && this.connection(over),
      number: number && this.number(number),
      services: services && readList(services).map(each => this.service(each)),
      units: units && this.service(units),
      action: action && readChoice(action, actionNames),
      cause: cause && this.nameOrNumber(cause, 'a Termination-Cause', causeNames),
      subscribers: subscriber && this.subscribers(subscriber),
      information: this.information(fields),
      timestamp: (timestamp && readBoolean(timestamp)) ?? true,
      destinationHost: destinationHost && this.text(destinationHost),
      avps: avps ? this.avps(avps) : [],
      without: without ? readList(without).flatMap(each => this.avpName(each)?.name ?? []) : [],
      retransmitted: (retransmitted && readBoolean(retransmitted)) ?? false,
      lost: (lost && readBoolean(lost)) ?? false,
    }
  }

  private service(value: Value): ScriptService {
    const { group, service, ask, used, reason, triggers, envelopes, refund } = readFields(value, serviceKeys)
    const why = reason && this.nameOrNumber(reason, 'a Reporting-Reason', reasonNames)
    const beside = why !== undefined && !reasonsInUnits.has(why)
    const usage = used && readList(used).map(each => this.used(each))
    if (why !== undefined && !beside && usage === undefined)
      fault(reason!, 'this reason stands in Used-Service-Unit, and there is none', 'add `used:`')
    return {
      ...(group && { ratingGroup: this.number(group) ?? 0 }),
      ...(service && { serviceIdentifiers: readList(service).flatMap(each => this.number(each) ?? []) }),
      ...(ask && { requested: this.asked(ask) }),
      ...(usage && { used: beside || why === undefined ? usage : usage.map(each => ({ ...each, reason: why })) }),
      ...(beside && { reason: why }),
      ...(triggers && {
        triggers: readList(triggers).flatMap(each => this.nameOrNumber(each, 'a Trigger-Type', triggerNames) ?? []),
      }),
      ...(envelopes && { envelopes: readList(envelopes).map(each => this.envelope(each)) }),
      ...(refund && { refund: this.savedOr(refund, octetsOf, 'write 0x and hexadecimal digits') ?? Buffer.alloc(0) }),
    }
  }

  private asked(value: Value): UnitAmounts {
    if (isTable(value)) return this.amounts(value)
    const text = this.text(value)
    if (text === 'any') return {}
    const amount = this.amount(value)
    return amount ? amountsOf(amount) : {}
  }

  private used(value: Value): UsedUnits {
    return isTable(value) ? this.amounts(value) : amountsOf(this.amount(value) ?? { unit: 'octets', amount: 0n })
  }

  private amounts(value: Value): UsedUnits {
    const keys = ['total', 'input', 'output', 'seconds', 'events', 'money', 'side', 'reason', 'times'] as const
    const { total, input, output, seconds, events, money, side, reason, times } = readFields(value, keys)
    const size = (each: Value): bigint => this.amountOf(each, 'octets')
    return {
      ...(total && { ...amountsOf(this.amount(total) ?? { unit: 'octets', amount: 0n }) }),
      ...(input && { inputOctets: size(input) }),
      ...(output && { outputOctets: size(output) }),
      ...(seconds && { seconds: Number(this.amountOf(seconds, 'seconds')) }),
      ...(events && { events: this.amountOf(events, 'events') }),
      ...(money && amountsOf(this.amount(money) ?? { unit: 'money', amount: 0n })),
      ...(side && { side: readChoice(side, sides) ?? 'before' }),
      ...(reason && { reason: this.nameOrNumber(reason, 'a Reporting-Reason', reasonNames) ?? 0 }),
      ...(times && { eventTimes: readList(times).flatMap(each => this.time(each) ?? []) }),
    }
  }

  private envelope(value: Value): { start: number; end?: number; octets?: bigint; events?: bigint } {
    const { start, end, octets, events } = readFields(value, ['start', 'end', 'octets', 'events'], ['start'])
    return {
      start: (start && this.time(start)) ?? 0,
      ...(end && { end: this.time(end) ?? 0 }),
      ...(octets && { octets: this.amountOf(octets, 'octets') }),
      ...(events && { events: this.amountOf(events, 'events') }),
    }
  }

  // --------------------------------------------------------------------------------------------------- expectations

  private expected(value: Value | undefined, action: StepAction | undefined): Expected {
    const nothing: Expected = {
      ...{ any: false, code: undefined, silence: false, closed: false, same: false, withinMs: undefined },
      ...{ errorBit: undefined, services: undefined, avps: [], passed: undefined, state: undefined },
      ...{ status: undefined, fields: [] },
    }
    if (!value) return nothing
    if (!isTable(value)) {
      const word = readChoice(value, ['any', 'silence', 'closed', 'same'])
      return { ...nothing, ...(word && { [word]: true }) }
    }
    const keys = [
      ...(['code', 'same', 'within', 'errorBit', 'services', 'avps', 'passed', 'state', 'status', 'fields'] as const),
    ] as const
    const fields = readFields(value, keys)
    const { code, same, within, errorBit, services, avps, passed, state, status } = fields
    if (fields.fields && action?.kind !== 'operator') fault(fields.fields, '`fields` are of an operator’s command')
    return {
      ...nothing,
      code: code && this.code(code),
      same: (same && readBoolean(same)) ?? false,
      withinMs: within && this.duration(within),
      errorBit: errorBit && readBoolean(errorBit),
      services: services && this.expectedServices(services),
      avps: avps ? this.expectedAvps(avps) : [],
      passed: passed && this.amount(passed)?.amount,
      state:
        state &&
        readChoice(state, [
          'open',
          'final',
          'blocked',
          'redirected',
          'restricted',
          'idle',
          'free',
          'uncharged',
          'ended',
        ]),
      status: status && this.number(status),
      fields: (fields.fields ? (readEntries(fields.fields) ?? []) : []).map(entry => [
        entry.name,
        this.text(entry.value) ?? '',
        whereIs(entry.value),
      ]),
    }
  }

  private expectedServices(value: Value): readonly ExpectedService[] | 'none' {
    const list = readList(value)
    if (list.length === 1 && !isTable(list[0]!)) {
      readChoice(list[0]!, ['none'])
      return 'none'
    }
    return list.map(each => {
      const keys = [
        ...(['group', 'service', 'code', 'granted', 'validity', 'threshold', 'final', 'redirect', 'avps'] as const),
      ] as const
      const { group, service, code, granted, validity, threshold, final, redirect, avps } = readFields(each, keys)
      return {
        place: whereIs(each),
        group: group && this.number(group),
        service: service && readList(service).flatMap(one => this.number(one) ?? []),
        code: code && this.code(code),
        granted: granted && this.grant(granted),
        validity: validity && this.validity(validity),
        threshold: threshold && this.amount(threshold)?.amount,
        final: final && readChoice(final, ['terminate', 'redirect', 'restrict', 'none']),
        redirect: redirect && this.text(redirect),
        avps: avps ? this.expectedAvps(avps) : [],
      }
    })
  }

  private grant(value: Value): ExpectedService['granted'] {
    const text = this.text(value)
    return text === 'none' || text === 'some' ? text : this.amount(value)
  }

  private validity(value: Value): ExpectedService['validity'] {
    if (this.text(value) === 'some') return 'some'
    const seconds = this.amount(value)
    return seconds && Number(seconds.amount)
  }

  private expectedAvps(value: Value): ExpectedAvp[] {
    return (readEntries(value) ?? []).flatMap(entry => {
      const path = this.path(entry.name, entry.key)
      const text = this.text(entry.value)
      return path && text !== undefined ? [{ place: whereIs(entry.key), path, text: entry.name, value: text }] : []
    })
  }

  private path(text: string, at: Value): Path | undefined {
    const path = parsePath(text)
    if (!path)
      return fault(
        at,
        `\`${text}\` is no path of AVPs`,
        'write it like Multiple-Services-Credit-Control[Rating-Group=10]/Validity-Time',
      )
    for (const { name } of path) {
      if (/^\d+:\d+$/.test(name) || this.options.dictionary.hasAvp(name)) continue
      return fault(at, `no dictionary has an AVP \`${name}\``, this.nearAvp(name))
    }
    return path
  }

  private saves(value: Value): (readonly [string, Path])[] {
    return (readEntries(value) ?? []).flatMap((entry): (readonly [string, Path])[] => {
      const path = this.path(this.text(entry.value) ?? '', entry.value)
      this.saved.add(entry.name)
      return path ? [[entry.name, path]] : []
    })
  }

  // ------------------------------------------------------------------------------------------------------------ AVPs

  /** A table of AVPs by their names, or a list of such tables where the order matters. */
  private avps(value: Value): ScriptAvp[] {
    const tables = isTable(value) ? [value] : readList(value)
    return tables.flatMap(table =>
      (readEntries(table) ?? []).flatMap((entry): ScriptAvp[] => {
        const avp = this.avpNamed(entry.name, entry.key)
        if (!avp) return []
        if (avp.type === 'Grouped') {
          // A list is one group each, unless its tables are the members of one: one key each.
          return isTable(entry.value) || isEmptyText(entry.value)
            ? [[entry.name, isEmptyText(entry.value) ? [] : this.avps(entry.value)]]
            : readList(entry.value).map(each => [entry.name, this.avps(each)] as const)
        }
        return readList(entry.value).flatMap((each): ScriptAvp[] => {
          const input = this.savedOr(each, text => avpInput(avp, text), hintFor(avp))
          return input === undefined ? [] : [[entry.name, input]]
        })
      }),
    )
  }

  private avpName(value: Value): AvpDefinition | undefined {
    const text = this.text(value)
    return text === undefined ? undefined : this.avpNamed(text, value)
  }

  private avpNamed(name: string, at: Value): AvpDefinition | undefined {
    const numbers = /^(\d{1,10}):(\d{1,10})$/.exec(name)
    if (numbers) {
      const [code, vendorId] = [Number(numbers[1]), Number(numbers[2])]
      return { name, code, vendorId, type: 'OctetString', mandatory: false }
    }
    const { dictionary } = this.options
    if (dictionary.hasAvp(name)) return dictionary.avp(name)
    return fault(
      at,
      `no dictionary has an AVP \`${name}\``,
      this.nearAvp(name) ?? 'write CODE:VENDOR for one without a name',
    )
  }

  private nearAvp(name: string): string | undefined {
    return meant(
      name,
      this.options.dictionary.avps.map(avp => avp.name),
    )
  }

  /** `${name}` of a value that an earlier step saved, or what the text means. */
  private savedOr<T>(value: Value, parse: (text: string) => T | undefined, hint: string): T | Saved | undefined {
    const raw = readText(value)
    if (raw === undefined) return undefined
    const name = /^\$\{(\w+)\}$/.exec(raw)?.[1]
    if (name !== undefined && this.saved.has(name)) return { saved: name }
    const text = this.text(value)
    if (text === undefined) return undefined
    return parse(text) ?? fault(value, `${value.path}: \`${text}\` is no value of this AVP`, hint)
  }

  // ---------------------------------------------------------------------------------------------------------- values

  /** A text, with `${name}` replaced. */
  private text(value: Value): string | undefined {
    const text = readText(value)
    if (text === undefined) return undefined
    return text.replace(/\$\{(\w+)\}/g, (all, name: string) => {
      const known = this.variables.get(name)
      if (known !== undefined) return known
      const hint = meant(name, [...this.variables.keys()]) ?? 'set it under `vars:`'
      fault(value, `there is no variable \`${name}\``, hint)
      return all
    })
  }

  private parsed<T>(
    value: Value,
    expected: string,
    parse: (text: string) => T | undefined,
    hint: string,
  ): T | undefined {
    return readParsed(value, expected, text => parse(this.replaced(text)), hint)
  }

  private replaced(text: string): string {
    return text.replace(/\$\{(\w+)\}/g, (all, name: string) => this.variables.get(name) ?? all)
  }

  private number(value: Value): number | undefined {
    if (/\$\{/.test(readText(value) ?? '')) {
      return this.parsed(value, 'a number', text => (/^\d{1,10}$/.test(text) ? Number(text) : undefined), 'use digits')
    }
    return readInteger(value, { min: 0, max: 2 ** 32 - 1 })
  }

  private nameOrNumber(value: Value, expected: string, names: Readonly<Record<string, number>>): number | undefined {
    const parse = (text: string): number | undefined =>
      names[text] ?? (/^\d{1,10}$/.test(text) ? Number(text) : undefined)
    const known = Object.keys(names)
    const some = known.length > 12 ? `a name like ${known.slice(0, 3).join(', ')}` : `one of ${known.join(', ')}`
    const hint = (text: string): string => meant(text, known) ?? `write a number, or ${some}`
    return readParsed(value, expected, text => parse(this.replaced(text)), hint)
  }

  private code(value: Value): number | undefined {
    return this.nameOrNumber(value, 'a Result-Code', ResultCode)
  }

  private codeOrSilence(value: Value): number | 'silence' | undefined {
    return this.text(value) === 'silence' ? 'silence' : this.code(value)
  }

  /** Milliseconds. */
  private duration(value: Value): number | undefined {
    return this.parsed(value, 'a duration', parseDuration, durationHint)
  }

  private amount(value: Value): ExpectedAmount | undefined {
    return this.parsed(value, 'an amount', parseAmount, amountHint)
  }

  private amountOf(value: Value, unit: UnitType): bigint {
    const amount = this.amount(value)
    // A bare number is of whatever is asked for.
    if (amount && (amount.unit === unit || amount.unit === 'events')) return amount.amount
    if (amount) fault(value, `these are ${amount.unit}, not ${unit}`, amountHint)
    return 0n
  }

  private currency(value: Value): number | undefined {
    return this.parsed(value, 'a currency', currencyNumber, 'write its letters, like EUR')
  }

  /** Unix seconds. */
  private time(value: Value): number | undefined {
    return this.parsed(value, 'a time', secondsOf, 'write it like 2026-01-15T12:00:00Z')
  }

  private hex(value: Value): Buffer | undefined {
    const parse = (text: string): Buffer | undefined => {
      const digits = text.replace(/^0x/, '').replace(/\s+/g, '')
      return /^([\da-f]{2})*$/i.test(digits) ? Buffer.from(digits, 'hex') : undefined
    }
    return this.parsed(
      value,
      'hexadecimal digits',
      parse,
      'write two digits an octet; spaces and line ends may be between',
    )
  }

  private command(value: Value): string | undefined {
    const { dictionary } = this.options
    const names = dictionary.commands.map(({ abbreviation }) => abbreviation)
    const find = (text: string): string | undefined => names.find(name => name === text)
    return this.parsed(value, 'a command', find, `write one of ${names.join(', ')}`)
  }

  /** Letters of the header's flags: `RPT`. */
  private flags(value: Value): number | undefined {
    const bits: Readonly<Record<string, number>> = {
      ...{ R: FLAG.REQUEST, P: FLAG.PROXIABLE, E: FLAG.ERROR, T: FLAG.RETRANSMITTED },
    }
    const parse = (text: string): number | undefined =>
      /^[RPET]*$/.test(text) ? text.split('').reduce((sum, letter) => sum | bits[letter]!, 0) : undefined
    return this.parsed(value, 'flags', parse, 'write some of the letters R, P, E and T')
  }

  private words(value: Value): string[] {
    const text = this.text(value) ?? ''
    const words = [...text.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(match => match[1] ?? match[2] ?? match[3] ?? '')
    if (words.length === 0) fault(value, 'an operator’s command has no words', 'write what follows `ocsctl`')
    return words
  }

  private known(value: Value, names: ReadonlyMap<string, unknown>, what: string, where: string): string | undefined {
    const find = (text: string): string | undefined => (names.has(text) ? text : undefined)
    const hint = names.size === 0 ? `describe it under \`${where}:\`` : `known: ${[...names.keys()].join(', ')}`
    return this.parsed(value, `a ${what} of this script`, find, hint)
  }

  private connection(value: Value): string | undefined {
    const find = (text: string): string | undefined => (this.connections.has(text) ? text : undefined)
    const hint =
      this.connections.size === 0
        ? 'name a connection with `connect: { as: … }`'
        : `known: ${[...this.connections].join(', ')}`
    return this.parsed(value, 'a connection that was made above', find, hint)
  }

  private optional<T>(value: Value, read: (value: Value) => T | undefined): T | undefined {
    if (!isTable(value)) return isEmptyText(value) ? undefined : read(value)
    readFields(value, [])
    return undefined
  }
}

const defaultGateway = (name: string): GatewaySpec => ({
  ...{ name, host: 'pgw1.example.net', realm: 'example.net', destinationRealm: undefined, stateId: undefined },
})

const isEmptyText = ({ node }: Value): boolean => 'value' in node && node.value === null

function amountsOf({ unit, amount, currency }: ExpectedAmount & { readonly currency?: number }): UnitAmounts {
  if (unit === 'seconds') return { seconds: Number(amount) }
  return { [unit]: amount, ...(currency !== undefined && { currency }) }
}

/** `10MiB`, `60s`, `3`, `3 events`, `0.50 EUR`. */
export function parseAmount(text: string): (ExpectedAmount & { readonly currency?: number }) | undefined {
  const money = /^(-?[\d.]+) ?([A-Z]{3})$/.exec(text)
  if (money) {
    const [amount, currency] = [parseMoney(money[1]!), currencyNumber(money[2]!)]
    return amount === undefined || currency === undefined ? undefined : { unit: 'money', amount, currency }
  }
  const events = /^(\d{1,15})(?: (?:events?|units?|messages?))?$/.exec(text)
  if (events) return { unit: 'events', amount: BigInt(events[1]!) }
  const octets = parseSize(text)
  if (octets !== undefined) return { unit: 'octets', amount: octets }
  const ms = parseDuration(text)
  return ms === undefined || ms % 1000 !== 0 ? undefined : { unit: 'seconds', amount: BigInt(ms / 1000) }
}

function minuteOf(text: string): number | undefined {
  const match = /^([01]\d|2[0-3]):([0-5]\d)$/.exec(text)
  return match ? Number(match[1]) * 60 + Number(match[2]) : undefined
}

function secondsOf(text: string): number | undefined {
  if (/^\d{1,12}$/.test(text)) return Number(text)
  const ms = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?Z$/.test(text) ? Date.parse(text) : NaN
  return Number.isNaN(ms) ? undefined : Math.floor(ms / 1000)
}

/** `0x…` are octets, all else is text. */
const octetsOf = (text: string): Buffer | undefined =>
  /^0x([\da-f]{2})*$/i.test(text) ? Buffer.from(text.slice(2), 'hex') : Buffer.from(text)

/** The value of an AVP as people write it, by its type. Undefined: it has none of this text. */
export function avpInput(avp: AvpDefinition, text: string): AvpInput | undefined {
  if (/^0x([\da-f]{2})*$/i.test(text)) return octetsOf(text)
  const whole = /^-?\d{1,20}$/.test(text)
  switch (avp.type) {
    case 'Enumerated':
      if (whole) return Number(text)
      return [...(avp.enums ?? [])].find(([, name]) => name === text)?.[0]
    case 'Unsigned32':
    case 'Integer32':
      return whole ? Number(text) : [...(avp.enums ?? [])].find(([, name]) => name === text)?.[0]
    case 'Unsigned64':
    case 'Integer64':
      return whole ? BigInt(text) : parseSize(text)
    case 'Float32':
    case 'Float64':
      return Number.isNaN(Number(text)) ? undefined : Number(text)
    case 'Time':
      return secondsOf(text)
    default:
      return text
  }
}

function hintFor({ type, enums }: AvpDefinition): string {
  if (enums && enums.size <= 12)
    return `write one of ${[...enums].map(([value, name]) => `${value} ${name}`).join(', ')}`
  if (type === 'Time') return 'write it like 2026-01-15T12:00:00Z'
  return `it is ${type}; 0x and hexadecimal digits are taken as they are`
}
