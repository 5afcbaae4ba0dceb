/** A self-signed certificate for 127.0.0.1, encoded as DER (RFC 5280) with a key of node:crypto. */
import { generateKeyPairSync, sign } from 'node:crypto';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

function der(tag: number, ...parts: Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const length =
    body.length < 128
      ? [body.length]
      : body.length < 256
        ? [0x81, body.length]
        : [0x82, body.length >> 8, body.length & 255];
  return Buffer.concat([Buffer.from([tag, ...length]), body]);
}

const sequence = (...parts: Buffer[]) => der(0x30, ...parts);
const identifier = (...bytes: number[]) => der(0x06, Buffer.from(bytes));
const text = (tag: number, value: string) => der(tag, Buffer.from(value));
const ecdsaWithSha256 = sequence(identifier(0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02));
const commonName = (value: string) => sequence(der(0x31, sequence(identifier(0x55, 0x04, 0x03), text(0x0c, value))));
const time = (date: Date) => text(0x18, date.toISOString().replace(/[-:T]|\.\d+/g, ''));
const subjectAltName = sequence(
  identifier(0x55, 0x1d, 0x11),
  der(0x04, sequence(der(0x87, Buffer.from([127, 0, 0, 1])))),
);

/** Writes the certificate and its key to files. */
export function selfSigned(): { tlsCertificate: string; tlsKey: string } {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const name = commonName('onehead test');
  const day = 86_400_000;
  const body = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, Buffer.from([1])),
    ecdsaWithSha256,
    name,
    sequence(time(new Date(Date.now() - day)), time(new Date(Date.now() + day))),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(subjectAltName)),
  );
  const signature = der(0x03, Buffer.from([0]), sign('sha256', body, privateKey));
  const base64 = sequence(body, ecdsaWithSha256, signature).toString('base64').replace(/.{64}/g, '$&\n');
  const folder = mkdtempSync(join(tmpdir(), 'onehead-tls-'));
  const [tlsCertificate, tlsKey] = [join(folder, 'certificate.pem'), join(folder, 'key.pem')];
  writeFileSync(tlsCertificate, `-----BEGIN CERTIFICATE-----\n${base64}\n-----END CERTIFICATE-----\n`);
  writeFileSync(tlsKey, privateKey.export({ type: 'pkcs8', format: 'pem' }) as string);
  return { tlsCertificate, tlsKey };
}
