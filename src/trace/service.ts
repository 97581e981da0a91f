/**
 * Traces as people order them: recorded and logged with who and why before anything is shown, and again at their end.
 */
import type { Logger } from 'pino'
import type { Clock } from '../clock.js'
import type { MessagePrinter, PrintedMessage } from '../diameter/print.js'
import { recordTrace, type TraceEnded, type TraceStarted } from './audit.js'
import type { RunningTrace, TracedMessage, TraceReader, Tracing } from './tracing.js'

export interface TraceRequest {
  readonly actor: string
  readonly reason: string
  /** As it was asked for, for the record. */
  readonly subscriber?: string | undefined
  /** All identities of that subscriber. */
  readonly identities: readonly string[]
  /** Session-Ids that he has open. */
  readonly sessions: readonly string[]
  readonly peer?: string | undefined
  readonly session?: string | undefined
  readonly count: number
  readonly seconds: number
}

export type TraceOutcome =
  | { readonly status: 'started'; readonly trace: RunningTrace }
  | { readonly status: 'too_many' }
  /** Why nothing is traced. */
  | { readonly status: 'not_recorded'; readonly why: string }

/** A message as its reader gets it. */
export interface ShownMessage {
  readonly at: string
  /** Id of the daemon where it passed, as in its folder `data`. */
  readonly daemon: string
  readonly direction: 'in' | 'out'
  readonly peer?: string
  readonly from: string
  readonly to: string
  readonly remote: { readonly address: string; readonly port: number }
  readonly local: { readonly address: string; readonly port: number }
  /** Absent when the octets are no message. */
  readonly message?: PrintedMessage
  readonly text: readonly string[]
  /** Base 64. */
  readonly octets: string
}

export class TraceService {
  constructor(
    private readonly parts: {
      readonly tracing: Tracing
      /** Where traces are recorded. */
      readonly file: string
      readonly printer: MessagePrinter
      readonly log: Logger
      /** How the log shows an identity. */
      readonly mask: (identity: string) => string
      /** What stands for an identity in the record. */
      readonly pseudonym: (identity: string) => string
      readonly clock: Clock
    },
  ) {}

  start(request: TraceRequest, reader: TraceReader): TraceOutcome {
    const { tracing, log, mask, pseudonym } = this.parts
    const { actor, reason, subscriber, identities, sessions, peer, session, count, seconds } = request
    const wanted = { ...(subscriber !== undefined && { subscriber: identities }), peer, session }
    let id = ''
    let recorded = false
    const audited: TraceReader = {
      message: message => recorded && reader.message(message),
      lost: messages => reader.lost(messages),
      ended: (why, totals) => {
        if (!recorded) return
        log.info({ event: 'trace_ended', trace: id, why, ...totals }, 'a trace has ended')
        this.record({ event: 'ended', at: this.now(), id, why, ...totals })
        reader.ended(why, totals)
      },
    }
    const trace = tracing.start({ wanted, sessions, count, seconds }, audited)
    if (!trace) return { status: 'too_many' }
    id = trace.id
    // Who was looked at can be asked for by pseudonym, and is forgotten when he is.
    const subscribers =
      subscriber === undefined ? undefined : (identities.length > 0 ? identities : [subscriber]).map(pseudonym)
    const what = { id, actor, reason, subscribers, peer, session, count, seconds }
    const why = this.record({ event: 'started', at: this.now(), ...what })
    if (why !== undefined) {
      trace.stop('stopped')
      return { status: 'not_recorded', why }
    }
    recorded = true
    const fields = { trace: id, actor, reason, 'Origin-Host': peer, count, seconds, session: session !== undefined }
    const whom = subscriber === undefined ? {} : { subscriber: mask(subscriber) }
    log.warn({ event: 'trace_started', ...fields, ...whom }, 'messages are shown to somebody')
    return { status: 'started', trace }
  }

  show(message: TracedMessage): ShownMessage {
    const { printer } = this.parts
    const { at, daemon, host, direction, peer, remote, local, octets } = message
    const there = placeOf(peer, remote)
    const here = placeOf(host, local)
    const [from, to] = direction === 'in' ? [there, here] : [here, there]
    let json: PrintedMessage | undefined
    try {
      json = printer.json(octets)
    } catch {
      // The text says it.
    }
    return {
      ...{ at: new Date(at).toISOString(), daemon, direction, ...(peer !== undefined && { peer }), from, to },
      ...{ remote, local, ...(json && { message: json }), text: printer.block({ at, from, to }, octets) },
      octets: octets.toString('base64'),
    }
  }

  /** @returns why it could not be recorded */
  private record(record: TraceStarted | TraceEnded): string | undefined {
    try {
      recordTrace(this.parts.file, record)
      return undefined
    } catch (error) {
      this.parts.log.error({ event: 'trace_not_recorded', err: error }, 'the record of a trace cannot be written')
      return (error as Error).message
    }
  }

  private readonly now = (): string => new Date(this.parts.clock.now()).toISOString()
}

function placeOf(name: string | undefined, { address, port }: { address: string; port: number }): string {
  const place = address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
  return name === undefined ? place : `${name} (${place})`
}
