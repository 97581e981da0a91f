/**
 * DiameterURI, RFC 6733 section 4.3.1: where a Diameter node can be reached.
 *
 *     aaa://host.example.com:6666;transport=tcp;protocol=diameter
 */
export interface DiameterUri {
  readonly secure: boolean
  /** Fully qualified domain name, as written. */
  readonly host: string
  readonly port: number
  readonly transport: 'tcp' | 'sctp' | 'udp'
  readonly protocol: 'diameter' | 'radius' | 'tacacs+'
}

const pattern =
  /^(aaas?):\/\/([A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::(\d{1,5}))?(?:;transport=(tcp|sctp|udp))?(?:;protocol=(diameter|radius|tacacs\+))?$/

/** Port 3868 (5658 for aaas), transport tcp and protocol diameter where nothing else is said. Undefined: no DiameterURI. */
export function parseDiameterUri(text: string): DiameterUri | undefined {
  const match = pattern.exec(text)
  if (!match) return undefined
  const [, scheme, host, port, transport = 'tcp', protocol = 'diameter'] = match
  const secure = scheme === 'aaas'
  const number = port === undefined ? (secure ? 5658 : 3868) : Number(port)
  if (number === 0 || number > 65_535) return undefined
  return {
    secure,
    host: host!,
    port: number,
    transport: transport as DiameterUri['transport'],
    protocol: protocol as DiameterUri['protocol'],
  }
}
