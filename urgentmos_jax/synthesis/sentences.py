"""Short sentences to be spoken, by language, written for this package; two to four seconds each."""

from typing import NamedTuple


class Sentence(NamedTuple):
    """A sentence and its language code, such as `en`."""

    language: str
    text: str


SENTENCES: dict[str, tuple[str, ...]] = {
    "en": (
        "The ferry was late, so we shared an orange.",
        "Grandmother keeps her buttons in a biscuit tin.",
        "Please water the tomatoes before the sun comes up.",
        "A grey cat slept on the warm printer.",
        "My bicycle squeaks whenever the road is wet.",
        "They painted the kitchen door a cheerful yellow.",
        "Nobody remembers who borrowed the long ladder.",
        "The train to the coast leaves from platform nine.",
        "He whistled while he folded the paper maps.",
        "Fresh snow covered the roofs of the village.",
        "Could you pass me the jar of plum jam?",
        "Three engineers argued about a single bolt.",
        "The orchestra tuned as the lights went down.",
        "Our neighbour grows garlic behind the garage.",
        "She found a silver coin under the carpet.",
        "Every Thursday the market smells of cinnamon.",
        "The lighthouse blinked twice and then went dark.",
        "Why does the old clock run backwards?",
        "We carried the piano up four flights of stairs.",
        "A young fox crossed the empty football field.",
        "The recipe calls for two cups of barley.",
        "Thunder rolled over the valley all afternoon.",
        "His suitcase was full of books about moths.",
        "Put the blue folder on the highest shelf.",
        "The children built a castle out of boxes.",
        "I would rather walk home along the river.",
        "Her voice was calm, but her hands were shaking.",
        "The baker opens his shop before five o'clock.",
        "Someone left a green umbrella on the bus.",
        "The museum shows ships made of glass.",
        "Use fewer words and choose them with care.",
        "The judge asked for silence in the room.",
    ),
    "de": (
        "Der Bäcker verkauft heute nur dunkles Brot.",
        "Im Garten hinter dem Haus blüht der Flieder.",
        "Hast du meinen grünen Regenschirm gesehen?",
        "Die Straßenbahn hält direkt vor dem Museum.",
        "Am Sonntag wandern wir zum alten Turm.",
        "Sie schrieb den Brief mit blauer Tinte.",
        "Das Fenster klappert, wenn der Wind dreht.",
        "Zwei Kinder suchen Muscheln am Strand.",
    ),
    "fr": (
        "Le facteur passe toujours avant midi.",
        "Nous avons cueilli des cerises dans le verger.",
        "La lampe du couloir clignote depuis hier.",
        "Un chien noir traverse lentement la place.",
        "Peux-tu fermer la porte du grenier ?",
        "Le marché ouvre quand la cloche sonne.",
        "Ma tante répare des montres anciennes.",
    ),
    "es": (
        "El barco azul llega al puerto mañana.",
        "Mi abuela guarda las cartas en una caja.",
        "¿Quién dejó abierta la ventana de la cocina?",
        "La lluvia golpea el techo de la escuela.",
        "Compramos naranjas y pan en el mercado.",
        "El gato duerme encima de la guitarra.",
        "Todos cantaron cuando se apagó la luz.",
    ),
    "it": (
        "Il treno per la montagna parte alle otto.",
        "La finestra rossa guarda verso il giardino.",
        "Mio zio coltiva limoni vicino al mare.",
        "Hai già assaggiato la zuppa di ceci?",
        "Le campane suonano sopra la piazza vuota.",
        "Il pittore ha perso il suo pennello.",
        "Domani portiamo i libri alla biblioteca.",
    ),
}
