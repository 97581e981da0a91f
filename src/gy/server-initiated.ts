/**
 * What we ask of gateways: Re-Auth-Request and Abort-Session-Request for credit control, RFC 8506 section 5.5 and RFC 6733 sections
 * 8.3 and 8.5; TS 32.299 section 6.4.4 narrows a RAR by at most one of rating group, service identifier and pool.
 */
import type { CommandOutcome, GatewayCommand, Gateways, Reach, Selector } from '../charging/reauthorisation.js'
import type { DiameterServer } from '../diameter/server.js'
import type { Writer } from '../diameter/writer.js'

const application = 4
const commandCodes = { RAR: 258, ASR: 274 } as const
const code = {
  sessionId: 263,
  originHost: 264,
  originRealm: 296,
  destinationRealm: 283,
  destinationHost: 293,
  authApplicationId: 258,
  reAuthRequestType: 285,
  ratingGroup: 432,
  serviceIdentifier: 439,
  poolIdentifier: 453,
} as const
/** The only Re-Auth-Request-Type of credit control. */
const AUTHORIZE_ONLY = 0

/** As long as a client's own Tx. Then the request goes over another connection, so often. */
const answerMs = 10_000
const resends = 2

/** Our own names. */
export interface Identity {
  readonly identity: string
  readonly realm: string
}

/** All AVPs of the request, Session-Id first. */
export function writeCommand(writer: Writer, command: GatewayCommand, { identity, realm }: Identity): void {
  writer.text(code.sessionId, command.sessionId)
  writer.text(code.originHost, identity)
  writer.text(code.originRealm, realm)
  writer.text(code.destinationRealm, command.originRealm)
  writer.text(code.destinationHost, command.originHost)
  writer.u32(code.authApplicationId, application)
  if (command.command === 'ASR') return
  writer.i32(code.reAuthRequestType, AUTHORIZE_ONLY)
  if (command.selector) writeSelector(writer, command.selector)
}

function writeSelector(writer: Writer, selector: Selector): void {
  if ('ratingGroup' in selector) writer.u32(code.ratingGroup, selector.ratingGroup)
  else if ('serviceIdentifier' in selector) writer.u32(code.serviceIdentifier, selector.serviceIdentifier)
  else writer.u32(code.poolIdentifier, selector.pool)
}

/** Gateways as this daemon reaches them. */
export class DiameterGateways implements Gateways {
  constructor(
    private readonly server: Pick<DiameterServer, 'reach' | 'request'>,
    private readonly own: Identity,
  ) {}

  reach({ originHost, via }: GatewayCommand): Reach {
    return this.server.reach({ destinationHost: originHost, via: via || undefined, applicationId: application })
  }

  async send(command: GatewayCommand): Promise<CommandOutcome> {
    const outcome = await this.server.request({
      destinationHost: command.originHost,
      via: command.via || undefined,
      commandCode: commandCodes[command.command],
      applicationId: application,
      write: writer => writeCommand(writer, command, this.own),
      timeoutMs: (resends + 1) * answerMs,
      resend: { afterMs: answerMs, times: resends },
    })
    return outcome.kind === 'answered' ? { kind: 'answered', resultCode: outcome.resultCode } : outcome
  }
}
