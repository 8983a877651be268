// A provider's mark: two letters on a colour of its own. Nothing is fetched, and nobody's logo is shown.
const hues = [200, 265, 320, 165, 28, 345, 95, 230];

/** The colour is that of the kind: the same for all accounts of a vendor, wherever it is named. */
export function Mark({ name, kind = name, size = 32 }: { name: string; kind?: string | undefined; size?: number }) {
  const hue = hues[[...kind].reduce((sum, ch) => (sum * 31 + (ch.codePointAt(0) ?? 0)) % 997, 7) % hues.length];
  const parts = name.split(/[^\p{L}\p{N}]+/u).filter(Boolean);
  const letters = ((parts.length > 1 ? `${[...(parts[0] ?? '')][0] ?? ''}${[...(parts[1] ?? '')][0] ?? ''}` : [...(parts[0] ?? '')].slice(0, 2).join('')) || '?').toUpperCase();
  return (
    <svg width={size} height={size} viewBox="0 0 32 32" aria-hidden style={{ flex: 'none' }}>
      <rect width="32" height="32" rx="8" fill={`hsl(${hue} 45% 42%)`} />
      <text x="16" y="16.5" fill="#fff" fontSize="12.5" fontWeight="650" textAnchor="middle" dominantBaseline="central" fontFamily="system-ui, sans-serif">{letters}</text>
    </svg>
  );
}
