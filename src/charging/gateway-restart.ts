/**
 * A gateway that restarted has lost its sessions: its Origin-State-Id has grown (RFC 6733 section 8.16). What they hold goes back at
 * once instead of by silence; what they still report is charged late.
 */
import type { Logger } from 'pino'
import type { OriginStates } from '../balance/node-state.js'
import type { Session } from '../balance/types.js'
import type { Clock } from '../clock.js'

export interface GatewayRestartParts {
  readonly states: OriginStates
  /** All open sessions, some at a time. */
  readonly openSessions: () => AsyncIterable<readonly Session[]>
  readonly release: (sessionId: string, actor: string) => Promise<unknown>
  readonly clock: Clock
  readonly log: Logger
}

export class GatewayRestarts {
  constructor(private readonly parts: GatewayRestartParts) {}

  /**
   * A peer's CER was accepted. Of several daemons that hear the new id only the first releases; sessions that were opened since
   * are left alone. Without an id, or with 0, nothing follows from it.
   *
   * @returns how many sessions were released
   */
  async connected(originHost: string, originStateId: number | undefined): Promise<number> {
    const { states, openSessions, release, clock, log } = this.parts
    if (originStateId === undefined || originStateId === 0) return 0
    const noticed = clock.now()
    if (!(await states.grew(originHost, originStateId))) return 0
    let released = 0
    for await (const sessions of openSessions()) {
      for (const session of sessions) {
        if (session.originHost.toLowerCase() !== originHost.toLowerCase() || session.opened >= noticed) continue
        await release(session.id, 'gateway-restart')
        released++
      }
    }
    log.warn(
      { event: 'gateway_restarted', 'Origin-Host': originHost, released },
      'the gateway lost its sessions; they are released',
    )
    return released
  }
}
