/**
 * Where connections come from: addresses that we listen on, and listening sockets that are handed to the process, as systemd
 * does with a socket unit (LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES; sd_listen_fds(3)). A socket handed over may be any stream
 * socket, SCTP in one-to-one style included, which Node cannot open by itself.
 */
import { readFileSync, readlinkSync } from 'node:fs'
import type { Server, Socket } from 'node:net'
import { createServer } from 'node:net'
import type { ListenAddress, ListenDescriptor, ListenPoint } from '../config/config.js'
import type { Transport } from './carriage.js'

type Environment = Readonly<Record<string, string | undefined>>

export interface OpenListener {
  readonly server: Server
  /** With the port that the system picked. */
  readonly address: ListenAddress
  /** What is below the messages, or below TLS. */
  readonly transport: Extract<Transport, 'tcp' | 'sctp'>
  /** It was handed over. */
  readonly handedOver: boolean
}

/** The first that is handed over, after stdin, stdout and stderr. */
const firstDescriptor = 3

/**
 * @param key of the configuration, for messages
 * @throws Error that says what cannot be had, and what to change
 */
export async function openListener(
  key: string,
  point: ListenPoint,
  accept: (socket: Socket) => void,
  environment: Environment = process.env,
): Promise<OpenListener> {
  const server = createServer({ noDelay: true }, accept)
  if (!('fd' in point)) {
    await listen(server, point, error => addressError(key, point, error))
    return { server, address: addressOf(server), transport: 'tcp', handedOver: false }
  }
  const fd = descriptorOf(key, point, environment)
  const transport = isSctp(fd) ? 'sctp' : 'tcp'
  await listen(server, { fd }, ({ code, message }) => {
    const hint = 'hand over a listening stream socket (a systemd socket unit, see the readme)'
    return new Error(`${key}: file descriptor ${fd} is no socket to listen on (${code ?? message}); ${hint}`)
  })
  return { server, address: addressOf(server), transport, handedOver: true }
}

/**
 * The number of a descriptor.
 *
 * @throws Error when systemd handed over others, or it is named and nothing was handed over
 */
export function descriptorOf(key: string, { fd }: ListenDescriptor, environment: Environment): number {
  const { LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES } = environment
  // Variables for another process, our parent say, are not ours.
  const count = LISTEN_PID === String(process.pid) ? Number(LISTEN_FDS ?? 0) : 0
  const names = LISTEN_FDNAMES === undefined ? [] : LISTEN_FDNAMES.split(':')
  const given = Array.from({ length: count }, (_, i) => `fd:${firstDescriptor + i}${names[i] ? ` (${names[i]})` : ''}`)
  if (typeof fd === 'number') {
    if (count === 0 || (fd >= firstDescriptor && fd < firstDescriptor + count)) return fd
    throw new Error(`${key}: fd:${fd} was not handed over; there is ${given.join(', ')}`)
  }
  const found = count === 0 ? -1 : names.slice(0, count).indexOf(fd)
  if (found >= 0) return firstDescriptor + found
  const there =
    count === 0
      ? 'no socket was handed to this process (LISTEN_FDS and LISTEN_PID say so); start it by its systemd socket unit'
      : `there is ${given.join(', ')}; set FileDescriptorName= in the socket unit`
  throw new Error(`${key}: no socket named ${fd} was handed over: ${there}`)
}

function listen(
  server: Server,
  where: ListenAddress | { readonly fd: number },
  explain: (error: NodeJS.ErrnoException) => Error,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (error: NodeJS.ErrnoException): void => reject(explain(error))
    server.once('error', failed)
    try {
      server.listen(where, () => {
        server.off('error', failed)
        resolve()
      })
    } catch (error) {
      // A descriptor that is no socket at all is told at once.
      failed(error as NodeJS.ErrnoException)
    }
  })
}

function addressOf(server: Server): ListenAddress {
  const address = server.address()
  // A socket that is no internet socket has a path, or nothing.
  if (address === null || typeof address === 'string') return { host: address ?? '', port: 0 }
  return { host: address.address, port: address.port }
}

/** Whether the kernel lists the socket among its SCTP endpoints; their lines end with inode and addresses. */
function isSctp(fd: number): boolean {
  try {
    const [, inode] = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/self/fd/${fd}`)) ?? []
    const endpoints = readFileSync('/proc/net/sctp/eps', 'utf8')
    return inode !== undefined && endpoints.split('\n').some(line => line.trim().split(/\s+/).includes(inode))
  } catch {
    return false // no such module in this kernel
  }
}

function addressError(key: string, { host, port }: ListenAddress, error: NodeJS.ErrnoException): Error {
  const where = `${host}:${port}`
  switch (error.code) {
    case 'EADDRINUSE':
      return new Error(`${key}: ${where} is taken; stop what listens there, or choose another port`)
    case 'EADDRNOTAVAIL':
      return new Error(`${key}: this machine has no address ${host}`)
    case 'EACCES':
      return new Error(`${key}: ${where} is not allowed to this user; choose a port above 1023`)
    default:
      return new Error(`${key}: cannot listen on ${where}: ${error.message}`)
  }
}
