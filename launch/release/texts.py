"""Texts for the voices of the release: sentences from a small grammar in English, short lists in other languages."""

import itertools

import numpy as np

from urgentmos_jax.synthesis.sentences import SENTENCES

__all__ = ["texts"]

_WHO = (
    "the old teacher", "a tired nurse", "my younger brother", "the woman next door", "an honest lawyer", "our captain",
    "the quiet librarian", "a famous violinist", "their uncle George", "the shy zoologist", "a busy journalist",
    "the chief engineer", "every third visitor", "the boy with the drum", "Doctor Ashcroft", "one careful thief",
)  # fmt: skip
_DOES = (
    "carried", "measured", "repaired", "forgot about", "quietly sold", "photographed", "watched over", "described",
    "threw away", "jumped across", "complained about", "borrowed", "finished", "hid", "examined", "gave away",
)  # fmt: skip
_WHAT = (
    "a heavy box", "the broken engine", "seven yellow flowers", "the whole fish", "an unusual machine",
    "his best jacket",
    "that enormous bridge", "the village choir", "eighteen thick volumes", "some fresh bread", "the vague question",
    "a pair of leather shoes", "the southern garden", "the judge's hat", "a bowl of hot soup", "her father's watch",
)  # fmt: skip
_WHERE = (
    "at the station", "before noon", "in the shadow of the church", "with great pleasure", "during the long meeting",
    "while everybody laughed", "as though nothing had happened", "under the pale moon", "for the third time this year",
    "without a single word", "near the edge of the forest", "because the weather was fine", "on Wednesday evening",
)  # fmt: skip

_MORE = {
    "ru": (
        "Сегодня утром над рекой стоял густой туман.", "Моя сестра каждый день читает газету в поезде.",
        "Скажите, пожалуйста, где находится ближайшая аптека?", "Старый мастер долго чинил часы на башне.",
        "Зимой дети катаются на коньках до самого вечера.", "Мы купили хлеб, молоко и килограмм яблок.",
        "Кошка спит на тёплом подоконнике и никого не боится.", "Вчера в театре показывали новую комедию.",
    ),
    "fi": (
        "Aamulla järven pinta oli aivan tyyni.", "Mummo leipoo pullaa joka lauantai.",
        "Missä on lähin rautatieasema?", "Vanha vene kellui hiljaa rannan tuntumassa.",
        "Lapset rakensivat lumilinnan koulun pihalle.", "Huomenna sataa vettä koko päivän.",
        "Kirjastosta saa lainata myös soittimia.", "Naapurin koira haukkuu aina postinkantajalle.",
    ),
    "cs": (
        "Ráno ležela nad řekou hustá mlha.", "Babička peče v sobotu koláče.", "Kde je prosím nejbližší nádraží?",
        "Starý hodinář opravil hodiny na věži.", "Děti stavěly na dvoře sněhuláka.", "Zítra bude celý den pršet.",
        "Kočka spí na okně a nikoho se nebojí.", "V divadle dávají novou komedii.",
    ),
    "ca": (
        "Aquest matí el riu estava cobert de boira.", "La meva germana llegeix el diari al tren.",
        "Em pot dir on és la farmàcia més propera?", "El vell rellotger va arreglar el campanar.",
        "Els nens juguen a la plaça fins al vespre.", "Hem comprat pa, llet i un quilo de pomes.",
        "El gat dorm a la finestra i no té por de ningú.", "Demà plourà tot el dia a la muntanya.",
    ),
}  # fmt: skip


def texts(language: str, count: int, seed: int) -> list[str]:
    """So many texts of two to eight seconds in a language, always the same for a seed.

    Raises:
        KeyError: There are no sentences in the language.
    """
    rng = np.random.default_rng(seed)
    if language == "en":
        sentences = [
            f"{' '.join(str(rng.choice(words)) for words in (_WHO, _DOES, _WHAT, _WHERE))}." for _ in range(count)
        ]
        made = [text[0].upper() + text[1:] for text in sentences]
        return [text if rng.random() < 0.7 else f"{text} {rng.choice(SENTENCES['en'])}" for text in made]
    known = _MORE.get(language) or SENTENCES[language]
    pairs = list(itertools.permutations(known, 2))
    chosen = [*known, *(" ".join(pairs[i]) for i in rng.permutation(len(pairs)))]
    return chosen[:count]
