/**
 * Plays a script (script.ts) against a server: connects, sends, checks what comes, and tells of everything as it happens.
 */
import type { Clock } from '../clock.js'
import type { Dictionary } from '../diameter/dictionary.js'
import { FLAG } from '../diameter/header.js'
import { encodeTree, type AvpItem, type AvpTree } from '../diameter/tree.js'
import { formatAmount, type Millis } from '../units.js'
import { follow, valueText } from './avp-path.js'
import { ccrAvps, encodeCcr, type CcrInput, type ServiceInput } from './ccr.js'
import { checkAnswer, checkFields, codeText, type Verdict } from './expectation.js'
import {
  ConnectionLostError,
  Gateway,
  GatewayConnection,
  NoAnswerError,
  type Address,
  type Reaction,
} from './gateway.js'
import { Message } from './message.js'
import type { Endpoint } from './pcap.js'
import type {
  CcrStep,
  GatewaySpec,
  Place,
  Saved,
  Script,
  ScriptAvp,
  ScriptService,
  SessionSpec,
  Step,
  StepAction,
} from './script.js'
import { GatewaySession } from './session.js'

/** Time of a play: a real one waits, one for tests goes on at once. */
export interface PlayClock extends Clock {
  /** So much time goes by. */
  pass(ms: number): Promise<void>
}

export interface OperatorResult {
  readonly status: number
  /** What it answered, as JSON where it is; undefined for none. */
  readonly answer: unknown
  readonly text: string
}

export interface PlayOptions {
  readonly script: Script
  readonly dictionary: Dictionary
  /** By name; the first is where connections go that name none. */
  readonly servers: ReadonlyMap<string, Address>
  readonly clock: PlayClock
  /** How long an answer may take, ms. */
  readonly patienceMs: number
  /** Runs an operator's command; undefined: such steps are left out. */
  readonly operator: ((words: readonly string[]) => Promise<OperatorResult>) | undefined
  readonly onEvent: (event: PlayEvent) => void
}

export type PlayEvent =
  | {
      readonly kind: 'message'
      readonly at: Millis
      readonly sent: boolean
      readonly octets: Buffer
      readonly local: Endpoint
      readonly remote: Endpoint
      /** The script's names. */
      readonly gateway: string
      readonly connection: string
      readonly session: string | undefined
      /** From its request to this answer. */
      readonly afterMs: number | undefined
      /** The script pretends that it is lost. */
      readonly lost: boolean
    }
  | { readonly kind: 'step'; readonly place: Place; readonly text: string }
  | { readonly kind: 'check'; readonly place: Place; readonly verdict: Verdict }

export interface PlayResult {
  readonly passed: number
  readonly failed: number
  readonly messages: number
  /** Operator's steps that were left out. */
  readonly leftOut: number
}

/** Nobody is there, or it is no Diameter server: exit status 3. */
export class UnreachableError extends Error {
  override readonly name = 'UnreachableError'
}

/** The script asks for what cannot be done at this point of it. */
export class ScriptError extends Error {
  override readonly name = 'ScriptError'
  constructor(
    readonly place: Place,
    message: string,
  ) {
    super(message)
  }
}

export async function play(options: PlayOptions): Promise<PlayResult> {
  const player = new Player(options)
  try {
    for (const step of options.script.steps) await player.run(step)
    player.finish()
  } finally {
    await player.close()
  }
  return player.result
}

/** A request that may be repeated. */
interface Sent {
  readonly avps: readonly AvpItem[]
  readonly endToEnd: number
  readonly connection: GatewayConnection
  answer: Message | undefined
}

interface PlayedSession {
  readonly spec: SessionSpec
  id: string
  next: number
  readonly sent: Map<number, Sent>
  live: GatewaySession | undefined
}

interface PlayedConnection {
  readonly name: string
  readonly gateway: string
  readonly connection: GatewayConnection
}

/** A request of the server that waits for a step which awaits it. */
interface Incoming {
  readonly request: Message
  readonly gateway: string
  readonly answer: ((reaction: Reaction) => void) | undefined
}

/** What became of a request. */
type Outcome = { readonly answer: Message; readonly afterMs: number } | 'silence' | 'closed'

/** Exit status of ocsctl when no daemon answers. */
const unreachable = 3

const commandNames: Readonly<Record<number, 'RAR' | 'ASR'>> = { 258: 'RAR', 274: 'ASR' }

class Player {
  private passed = 0
  private failed = 0
  private messages = 0
  private leftOut = 0
  private readonly gateways = new Map<string, Gateway>()
  private readonly connections: PlayedConnection[] = []
  private readonly sessions = new Map<string, PlayedSession>()
  private readonly saved = new Map<string, AvpTree>()
  private readonly incoming: Incoming[] = []
  private waitingFor: (() => void)[] = []
  /** When requests were sent, by connection and Hop-by-Hop Identifier. */
  private readonly sentAt = new Map<string, number>()
  /** Hop-by-Hop Identifiers whose answers the script pretends to lose. */
  private readonly losing = new Set<string>()

  constructor(private readonly options: PlayOptions) {}

  get result(): PlayResult {
    const { passed, failed, messages, leftOut } = this
    return { passed, failed, messages, leftOut }
  }

  async run(step: Step): Promise<void> {
    const { action } = step
    switch (action.kind) {
      case 'connect':
        return this.connect(step, action)
      case 'disconnect':
      case 'abort':
        return this.leave(step, action)
      case 'ccr':
        return this.ccr(step, action)
      case 'send':
      case 'raw':
        return this.send(step, action)
      case 'repeat':
        return this.repeat(step, action)
      case 'await':
        return this.await(step, action)
      case 'wait':
        this.tell(step.place, `${seconds(action.ms)} go by`)
        return this.pass(action.ms)
      case 'until': {
        const { clock } = this.options
        const dayMs = 86_400_000
        const ms = (action.minute * 60_000 - (clock.now() % dayMs) + dayMs) % dayMs
        this.tell(step.place, `waits ${seconds(ms)}, until ${clockText(action.minute)} UTC`)
        return this.pass(ms)
      }
      case 'operator':
        return this.operate(step, action.words)
      case 'say':
        this.tell(step.place, action.text)
        return
      case 'parallel':
        return this.parallel(action.steps)
      default:
        return this.live(step, action)
    }
  }

  /** At once, each sent after the one before it: a repeat has something to repeat. */
  private async parallel(steps: readonly Step[]): Promise<void> {
    const running: Promise<void>[] = []
    for (const step of steps) {
      running.push(this.run(step))
      await new Promise(resolve => setImmediate(resolve))
    }
    await Promise.all(running)
  }

  /** What the server asked and nobody awaited is a failure: the script does not know of it. */
  finish(): void {
    for (const { request, answer } of this.incoming.splice(0)) {
      if (!answer) continue
      answer(undefined)
      const name = commandNames[request.header.commandCode] ?? 'a request'
      const place = this.options.script.steps.at(-1)?.place ?? { file: this.options.script.file, line: 1, column: 1 }
      this.check(place, {
        ok: false,
        text: `${name} is awaited by a step`,
        found: 'no step awaits it: 5002 is answered',
      })
    }
  }

  async close(): Promise<void> {
    for (const { live } of this.sessions.values()) live?.close()
    await Promise.all([...this.gateways.values()].map(gateway => gateway.disconnect()))
    for (const { connection } of this.connections) connection.abort()
  }

  // ---------------------------------------------------------------------------------------------------- connections

  private async connect(step: Step, action: Extract<StepAction, { kind: 'connect' }>): Promise<void> {
    const { servers, script } = this.options
    const spec = action.gateway === undefined ? firstOf(script.gateways) : script.gateways.get(action.gateway)!
    const address = action.to === undefined ? firstOf(servers) : servers.get(action.to)
    if (!address) {
      throw new ScriptError(step.place, `there is no server \`${action.to}\`: name it with --to ${action.to}=HOST:PORT`)
    }
    const gateway = this.gateway(spec, action.stateId)
    let connection: GatewayConnection
    try {
      connection = await GatewayConnection.openWithoutCer(gateway, address)
    } catch (error) {
      if (step.expect.closed) {
        this.check(step.place, { ok: true, text: 'the connection is refused' })
        return
      }
      throw new UnreachableError(
        `${address.host}:${address.port} does not take a connection: ${(error as Error).message}`,
      )
    }
    const server = action.to ?? firstOf(new Map([...servers.keys()].map(each => [each, each])))
    const name = action.as ?? server
    this.connections.push({ name, gateway: spec.name, connection })
    if (!action.cer) return
    const outcome = await this.exchange(connection, connection.cer())
    this.judge(step, outcome)
    if (typeof outcome === 'string' || outcome.answer.resultCode !== 2001) {
      connection.abort()
      return
    }
    connection.cea = outcome.answer
    gateway.adopt(connection)
    if (spec.destinationRealm === undefined) {
      gateway.destinationRealm = outcome.answer.text('Origin-Realm') ?? gateway.destinationRealm
    }
  }

  /** A gateway that comes with another Origin-State-Id has restarted: it is a new one. */
  private gateway(spec: GatewaySpec, stateId = spec.stateId): Gateway {
    const old = this.gateways.get(spec.name)
    if (old && old.options.originStateId === stateId) return old
    const { dictionary, clock, patienceMs } = this.options
    const gateway = new Gateway({
      ...{ dictionary, clock, patienceMs, originHost: spec.host, originRealm: spec.realm },
      destinationRealm: spec.destinationRealm ?? spec.realm,
      ...(stateId !== undefined && { originStateId: stateId }),
      onRequest: request => this.asked(spec.name, request),
      trace: (direction, octets, connection) => this.message(spec.name, direction === 'sent', octets, connection),
    })
    this.gateways.set(spec.name, gateway)
    return gateway
  }

  private async leave(step: Step, action: Extract<StepAction, { kind: 'disconnect' | 'abort' }>): Promise<void> {
    const found = this.connections.findLast(
      ({ name, connection }) => (action.connection === undefined || name === action.connection) && !connection.ended,
    )
    if (!found) throw new ScriptError(step.place, 'there is no open connection to end')
    if (action.kind === 'disconnect') return found.connection.disconnect()
    this.tell(step.place, `${found.name} is cut: nothing is said`)
    found.connection.abort()
    await found.connection.closed
  }

  /** The connection that a step names, else the first open one of its gateway; the first of all is made by itself. */
  private async carrier(step: Step, over: string | undefined, gateway: string | undefined): Promise<GatewayConnection> {
    const { script } = this.options
    const name = gateway ?? firstOf(script.gateways).name
    const find = (): PlayedConnection | undefined =>
      over === undefined
        ? this.connections.find(each => each.gateway === name && !each.connection.ended)
        : this.connections.findLast(each => each.name === over)
    const made = this.connections.filter(each => each.gateway === name).length
    if (!find() && over === undefined && !this.connections.some(each => each.gateway === name)) {
      const connect = {
        kind: 'connect',
        gateway: name,
        to: undefined,
        as: undefined,
        stateId: undefined,
        cer: true,
      } as const
      await this.connect(
        { ...step, expect: { ...step.expect, ...nothingExpected }, save: [], action: connect },
        connect,
      )
    }
    const found = find()
    // Made by itself just now, and refused.
    if (!found && over === undefined && this.connections.filter(each => each.gateway === name).length > made) {
      throw new UnreachableError(
        `the server takes the connection, but does not accept ${name} (see its CEA, or its log)`,
      )
    }
    if (!found) throw new ScriptError(step.place, `gateway ${name} has no open connection: add \`connect:\` before`)
    return found.connection
  }

  // ------------------------------------------------------------------------------------------------ single messages

  private async ccr(step: Step, action: CcrStep): Promise<void> {
    const session = await this.session(step, action.session)
    if (session.live) {
      throw new ScriptError(
        step.place,
        `session ${session.spec.name} is driven by \`start\`: use use, ask, change and stop`,
      )
    }
    const { gateway } = session.spec
    const connection = await this.carrier(step, action.over, gateway)
    const owner = this.gateways.get(gateway ?? firstOf(this.options.script.gateways).name)!
    if (action.type === 'event' && action.number === undefined && session.sent.size > 0) {
      // An event is a session of its own.
      session.id = session.spec.id ?? owner.nextSessionId()
      session.next = 0
      session.sent.clear()
    }
    const number = action.number ?? session.next
    session.next = number + 1
    const avps = this.avpsOf(owner, session, action, number)
    const sent: Sent = { avps, endToEnd: owner.nextEndToEnd(), connection, answer: undefined }
    session.sent.set(number, sent)
    await this.transmit(step, sent, connection, action)
  }

  private avpsOf(gateway: Gateway, session: PlayedSession, action: CcrStep, number: number): AvpItem[] {
    const { spec, id } = session
    const { type, services, units, action: requested, cause, destinationHost, timestamp } = action
    const { originStateId } = gateway.options
    const information = { ...spec.information, ...action.information }
    const input: CcrInput = {
      type,
      number,
      sessionId: id,
      serviceContextId: spec.context,
      subscriptionIds: action.subscribers ?? spec.subscribers,
      ...(timestamp && { eventTimestamp: Math.floor(this.options.clock.now() / 1000) }),
      ...(originStateId !== undefined && { originStateId }),
      ...(destinationHost !== undefined && { destinationHost }),
      ...(requested !== undefined && { action: requested }),
      ...(type === 'initial' && services && { multipleServicesIndicator: 1 as const }),
      ...(type === 'terminate' && { terminationCause: cause ?? 1 }),
      ...(services && { services: services.map(each => this.service(each)) }),
      ...(units && { units: this.service(units) }),
      ...(Object.keys(information).length > 0 && { information }),
    }
    const own = this.items(action.avps)
    const replaced = new Set([...action.without, ...own.map(item => nameOf(item))])
    return [...ccrAvps(gateway, input).filter(item => !replaced.has(nameOf(item))), ...own]
  }

  private service({ refund, ...rest }: ScriptService): ServiceInput {
    if (refund === undefined) return rest
    if (Buffer.isBuffer(refund)) return { ...rest, refund }
    const value = this.saved.get(refund.saved)?.value
    return { ...rest, refund: Buffer.isBuffer(value) ? value : Buffer.from(typeof value === 'string' ? value : '') }
  }

  private items(avps: readonly ScriptAvp[]): AvpItem[] {
    return avps.flatMap(([name, value]): AvpItem[] => {
      if (isSaved(value)) {
        const saved = this.saved.get(value.saved)
        return saved ? [[name, saved.value]] : []
      }
      return [Array.isArray(value) ? [name, this.items(value as readonly ScriptAvp[])] : [name, value as never]]
    })
  }

  /** Sends a CCR, new or repeated, and checks its answer. */
  private async transmit(
    step: Step,
    sent: Sent,
    connection: GatewayConnection,
    { retransmitted, lost }: { readonly retransmitted: boolean; readonly lost: boolean },
  ): Promise<void> {
    const hopByHop = connection.nextHopByHop()
    const key = this.keyOf(connection, hopByHop)
    if (lost) this.losing.add(key)
    const request = encodeCcr(this.options.dictionary, sent.avps, { hopByHop, endToEnd: sent.endToEnd, retransmitted })
    const outcome = await this.exchange(connection, request)
    const before = sent.answer
    if (typeof outcome !== 'string') sent.answer ??= outcome.answer
    if (!lost) this.judge(step, outcome, before)
  }

  private async send(step: Step, action: Extract<StepAction, { kind: 'send' | 'raw' }>): Promise<void> {
    const connection = await this.carrier(step, action.over, undefined)
    if (action.kind === 'raw') {
      this.judge(step, await this.exchange(connection, action.octets))
      return
    }
    const { command, flags, avps } = action
    const octets = encodeTree(this.options.dictionary, {
      ...{ command, hopByHop: connection.nextHopByHop(), endToEnd: firstOf(this.gateways).nextEndToEnd() },
      ...(flags !== undefined && { flags }),
      avps: this.items(avps),
    })
    this.judge(step, await this.exchange(connection, octets))
  }

  private async repeat(step: Step, action: Extract<StepAction, { kind: 'repeat' }>): Promise<void> {
    const session = await this.session(step, action.session)
    const number = action.number ?? session.next - 1
    const sent = session.sent.get(number)
    if (!sent)
      throw new ScriptError(step.place, `session ${session.spec.name} has not sent a request ${number} to repeat`)
    const same = action.over === undefined && !sent.connection.ended
    const connection = same ? sent.connection : await this.carrier(step, action.over, session.spec.gateway)
    await this.transmit(step, sent, connection, action)
  }

  private async exchange(connection: GatewayConnection, request: Buffer): Promise<Outcome> {
    const begun = performance.now()
    try {
      const answer = await connection.ask(request)
      return { answer, afterMs: performance.now() - begun }
    } catch (error) {
      if (error instanceof NoAnswerError) return 'silence'
      if (error instanceof ConnectionLostError) return 'closed'
      throw error
    }
  }

  // -------------------------------------------------------------------------------------------- requests of the server

  private asked(gateway: string, request: Message): Promise<Reaction> {
    return new Promise(resolve => {
      this.incoming.push({ request, gateway, answer: resolve })
      for (const wake of this.waitingFor.splice(0)) wake()
    })
  }

  private async await(step: Step, action: Extract<StepAction, { kind: 'await' }>): Promise<void> {
    const { command, answer, withinMs } = action
    const id = action.session === undefined ? undefined : (await this.session(step, action.session)).id
    const begun = performance.now()
    const find = (): number =>
      this.incoming.findIndex(
        ({ request }) =>
          commandNames[request.header.commandCode] === command &&
          (id === undefined || request.text('Session-Id') === id),
      )
    while (find() < 0) {
      const restMs = withinMs - (performance.now() - begun)
      if (restMs <= 0) {
        this.check(step.place, {
          ok: false,
          text: `${command} comes within ${seconds(withinMs)}`,
          found: 'none came',
        })
        return
      }
      await new Promise<void>(resolve => {
        const timer = setTimeout(resolve, restMs)
        this.waitingFor.push(() => {
          clearTimeout(timer)
          resolve()
        })
      })
    }
    const [found] = this.incoming.splice(find(), 1)
    const { request, answer: reply } = found!
    reply?.(answer === 'silence' ? 'silence' : { resultCode: answer })
    this.check(step.place, { ok: true, text: `${command} comes` })
    for (const verdict of checkAnswer(
      this.options.dictionary,
      { ...step.expect, code: undefined, any: true },
      request,
    )) {
      this.check(step.place, verdict)
    }
    this.save(step, request)
    // Its answer leaves before the next step.
    await new Promise(resolve => setImmediate(resolve))
  }

  // ---------------------------------------------------------------------------------------------- automatic sessions

  private async live(
    step: Step,
    action: Extract<StepAction, { kind: 'start' | 'use' | 'packets' | 'change' | 'ask' | 'stop' | 'forget' }>,
  ): Promise<void> {
    const session = await this.session(step, action.session)
    if (action.kind === 'start') return this.start(step, session, action.groups)
    const { live } = session
    if (!live) throw new ScriptError(step.place, `session ${session.spec.name} is not started: add \`start:\` before`)
    const group = 'group' in action ? (action.group ?? live.lines[0]?.ratingGroup) : live.lines[0]?.ratingGroup
    let passed: bigint | undefined
    try {
      if (action.kind === 'use') passed = await live.use(group, action.amount)
      else if (action.kind === 'packets') await live.packets(group, action.amount)
      else if (action.kind === 'change') await live.changeTo({ ...session.spec.information, ...action.information })
      else if (action.kind === 'ask') await live.askAgain(group)
      else if (action.kind === 'stop') await live.end()
      else live.close()
    } catch (error) {
      if (!(error instanceof ConnectionLostError || error instanceof NoAnswerError)) throw error
      const ended = step.expect.state === 'ended' || step.expect.closed || step.expect.silence
      this.check(step.place, { ok: ended, text: 'the server answers', found: error.message })
    }
    this.judgeLine(step, live, group, passed)
  }

  private async start(step: Step, session: PlayedSession, groups: readonly number[]): Promise<void> {
    const { spec } = session
    await this.carrier(step, undefined, spec.gateway)
    const gateway = this.gateways.get(spec.gateway ?? firstOf(this.options.script.gateways).name)!
    const live = new GatewaySession({
      ...{ gateway, serviceContextId: spec.context, unit: spec.unit, subscriptionIds: spec.subscribers },
      ...(spec.currency !== undefined && { currency: spec.currency }),
      information: spec.information,
      sessionId: session.id,
    })
    session.live = live
    await live.open(groups)
    const attend = gateway.attendants.get(live.id)
    if (attend) {
      gateway.attendants.set(live.id, (request, connection) => {
        this.incoming.push({ request, gateway: spec.name, answer: undefined })
        for (const wake of this.waitingFor.splice(0)) wake()
        return attend(request, connection)
      })
    }
    this.judgeLine(step, live, groups[0], undefined)
  }

  private judgeLine(step: Step, live: GatewaySession, group: number | undefined, passed: bigint | undefined): void {
    const { expect, place } = step
    const line = live.lines.find(each => each.ratingGroup === group)
    if (expect.passed !== undefined) {
      const ok = passed === expect.passed
      const [wanted, found] = [expect.passed, passed ?? 0n].map(units => formatAmount(live.unit, units))
      this.check(place, { ok, text: `${wanted} pass`, found: `${found} pass` })
    }
    if (expect.code !== undefined) {
      const ok = line?.resultCode === expect.code
      this.check(place, { ok, text: `Result-Code ${codeText(expect.code)}`, found: codeText(line?.resultCode ?? 0) })
    }
    if (expect.state !== undefined) {
      const state = live.state === 'open' ? (line?.state ?? 'blocked') : live.state
      this.check(place, { ok: state === expect.state, text: `the line is ${expect.state}`, found: `it is ${state}` })
    }
  }

  // ------------------------------------------------------------------------------------------------------- operators

  private async operate(step: Step, words: readonly string[]): Promise<void> {
    const { operator } = this.options
    if (!operator) {
      this.leftOut++
      this.tell(step.place, `ocsctl ${words.join(' ')}   (left out)`)
      return
    }
    this.tell(step.place, `ocsctl ${words.join(' ')}`)
    const { status, answer, text } = await operator(words)
    const { expect, place } = step
    const wanted = expect.status ?? 0
    if (status === unreachable && wanted !== unreachable)
      throw new UnreachableError(text.trim().replace(/^ocsctl: /, ''))
    if (!expect.any) {
      this.check(place, { ok: status === wanted, text: `exit status ${wanted}`, found: `${status}: ${text.trim()}` })
    }
    for (const verdict of checkFields(expect.fields, answer)) this.check(verdict.place, verdict)
  }

  // ------------------------------------------------------------------------------------------------------------ rest

  private async session(step: Step, name: string | undefined): Promise<PlayedSession> {
    const { script } = this.options
    const spec = name === undefined ? [...script.sessions.values()][0] : script.sessions.get(name)
    if (!spec) throw new ScriptError(step.place, 'the script describes no session: add one under `sessions:`')
    const known = this.sessions.get(spec.name)
    if (known) return known
    await this.carrier(step, undefined, spec.gateway)
    const gateway = this.gateways.get(spec.gateway ?? firstOf(script.gateways).name)!
    const session = {
      spec,
      id: spec.id ?? gateway.nextSessionId(),
      next: 0,
      sent: new Map<number, Sent>(),
      live: undefined,
    }
    this.sessions.set(spec.name, session)
    return session
  }

  private judge(step: Step, outcome: Outcome, before?: Message): void {
    const { expect, place } = step
    if (typeof outcome === 'string') {
      const found = outcome === 'silence' ? 'no answer came' : 'the connection ended'
      const [ok, text] = expect.silence
        ? [outcome === 'silence', 'no answer comes']
        : expect.closed
          ? [outcome === 'closed', 'the connection ends']
          : [false, 'an answer comes']
      this.check(place, { ok, text, found })
      return
    }
    const { answer, afterMs } = outcome
    if (expect.silence || expect.closed) {
      const text = expect.silence ? 'no answer comes' : 'the connection ends'
      this.check(place, { ok: false, text, found: `${codeText(answer.resultCode)} came` })
      return
    }
    for (const verdict of checkAnswer(this.options.dictionary, expect, answer, before)) this.check(place, verdict)
    if (expect.withinMs !== undefined) {
      const ok = afterMs <= expect.withinMs
      this.check(place, {
        ok,
        text: `the answer comes within ${expect.withinMs} ms`,
        found: `after ${afterMs.toFixed(1)} ms`,
      })
    }
    this.save(step, answer)
  }

  private save(step: Step, answer: Message): void {
    for (const [name, path] of step.save) {
      const [found] = follow(this.options.dictionary, answer.list, path)
      const text = `${path.map(each => each.name).join('/')} is there to be saved as ${name}`
      if (found) {
        this.saved.set(name, found)
        this.tell(step.place, `${name} = ${valueText(found)}`)
      } else this.check(step.place, { ok: false, text, found: 'it is absent' })
    }
  }

  /** Time goes by, and what sessions do by themselves is done when this is over. */
  private async pass(ms: number): Promise<void> {
    await this.options.clock.pass(ms)
    for (let turn = 0; turn < 1000 && this.connections.some(({ connection }) => connection.pending > 0); turn++) {
      await new Promise(resolve => setTimeout(resolve, 5))
    }
  }

  private message(gateway: string, sent: boolean, octets: Buffer, connection: GatewayConnection): void {
    this.messages++
    const readable = octets.length >= 20
    const key = this.keyOf(connection, readable ? octets.readUInt32BE(12) : 0)
    const isRequest = readable && (octets[4]! & FLAG.REQUEST) !== 0
    let afterMs: number | undefined
    if (sent && isRequest) this.sentAt.set(key, performance.now())
    else if (!sent && !isRequest) {
      const begun = this.sentAt.get(key)
      if (begun !== undefined) afterMs = performance.now() - begun
      this.sentAt.delete(key)
    }
    this.options.onEvent({
      ...{ kind: 'message', at: this.options.clock.now(), sent, octets: Buffer.from(octets), gateway, afterMs },
      ...{ local: connection.local, remote: connection.remote },
      connection: this.connections.find(each => each.connection === connection)?.name ?? '',
      session: this.sessionNameOf(octets),
      lost: !sent && !isRequest && this.losing.delete(key),
    })
  }

  private sessionNameOf(octets: Buffer): string | undefined {
    for (const { spec, id } of this.sessions.values()) {
      if (octets.includes(id)) return spec.name
    }
    return undefined
  }

  private keyOf(connection: GatewayConnection, hopByHop: number): string {
    return `${connection.local.port} ${connection.remote.port} ${hopByHop}`
  }

  private tell(place: Place, text: string): void {
    this.options.onEvent({ kind: 'step', place, text })
  }

  private check(place: Place, verdict: Verdict): void {
    if (verdict.ok) this.passed++
    else this.failed++
    this.options.onEvent({ kind: 'check', place, verdict })
  }
}

/** For the connection that a script did not ask for. */
const nothingExpected = {
  ...{ any: false, code: undefined, silence: false, closed: false, same: false, withinMs: undefined },
  ...{ errorBit: undefined, services: undefined, avps: [] },
}

const isSaved = (value: unknown): value is Saved =>
  typeof value === 'object' && value !== null && 'saved' in value && !Buffer.isBuffer(value)

const nameOf = (item: AvpItem): string => ('name' in item ? item.name : item[0])

const firstOf = <T>(map: ReadonlyMap<string, T>): T => [...map.values()][0]!

const seconds = (ms: number): string => (ms < 1000 ? `${ms} ms` : `${ms / 1000} s`)

const clockText = (minute: number): string =>
  `${String(Math.floor(minute / 60)).padStart(2, '0')}:${String(minute % 60).padStart(2, '0')}`
