/** Whisper's languages: code and English name, in the order of the multilingual vocabulary. */
export const languageNames: ReadonlyMap<string, string> = new Map(
  (
    'en english,zh chinese,de german,es spanish,ru russian,ko korean,fr french,ja japanese,pt portuguese,tr turkish,pl polish,' +
    'ca catalan,nl dutch,ar arabic,sv swedish,it italian,id indonesian,hi hindi,fi finnish,vi vietnamese,he hebrew,uk ukrainian,' +
    'el greek,ms malay,cs czech,ro romanian,da danish,hu hungarian,ta tamil,no norwegian,th thai,ur urdu,hr croatian,' +
    'bg bulgarian,lt lithuanian,la latin,mi maori,ml malayalam,cy welsh,sk slovak,te telugu,fa persian,lv latvian,bn bengali,' +
    'sr serbian,az azerbaijani,sl slovenian,kn kannada,et estonian,mk macedonian,br breton,eu basque,is icelandic,hy armenian,' +
    'ne nepali,mn mongolian,bs bosnian,kk kazakh,sq albanian,sw swahili,gl galician,mr marathi,pa punjabi,si sinhala,km khmer,' +
    'sn shona,yo yoruba,so somali,af afrikaans,oc occitan,ka georgian,be belarusian,tg tajik,sd sindhi,gu gujarati,am amharic,' +
    'yi yiddish,lo lao,uz uzbek,fo faroese,ht haitian creole,ps pashto,tk turkmen,nn nynorsk,mt maltese,sa sanskrit,' +
    'lb luxembourgish,my myanmar,bo tibetan,tl tagalog,mg malagasy,as assamese,tt tatar,haw hawaiian,ln lingala,ha hausa,' +
    'ba bashkir,jw javanese,su sundanese,yue cantonese'
  )
    .split(',')
    .map((entry): [string, string] => [entry.slice(0, entry.indexOf(' ')), entry.slice(entry.indexOf(' ') + 1)]),
);

/** Alternative names and codes. */
const aliases = new Map([
  ['burmese', 'my'],
  ['valencian', 'ca'],
  ['flemish', 'nl'],
  ['haitian', 'ht'],
  ['letzeburgesch', 'lb'],
  ['pushto', 'ps'],
  ['panjabi', 'pa'],
  ['moldavian', 'ro'],
  ['moldovan', 'ro'],
  ['sinhalese', 'si'],
  ['castilian', 'es'],
  ['mandarin', 'zh'],
  ['javanese', 'jw'],
  ['jv', 'jw'],
]);

/** Returns the code of a language from its code or English name, in any case; null if it is not one of Whisper's. */
export function languageCode(language: string): string | null {
  const lowerCase = language.trim().toLowerCase();
  if (languageNames.has(lowerCase)) return lowerCase;
  for (const [code, name] of languageNames) if (name === lowerCase) return code;
  return aliases.get(lowerCase) ?? null;
}

/** Returns the most probable language and its probability. */
export function likeliestLanguage(probabilities: ReadonlyMap<string, number>): [string, number] {
  return [...probabilities].reduce((best, next) => (next[1] > best[1] ? next : best), ['', -1]);
}
