"""Letters at five for a euro: known by e-mail, paid with a phone, written at once.

    CATALOGUE_PRESET=pay-per-use make demo DATA=.data-letters                # in one terminal
    make example NAME=streamlit_letter DATA=.data-letters                    # in another

Whoever types an e-mail address uses its letters: fit for a stall or a workshop, not for secrets.
"""

import os
import uuid

import streamlit as st
from tegoed import InsufficientCredits, Tegoed

FEATURE = "letter"
PACK = "letters-5"
POLL_S = 2


@st.cache_resource(on_release=Tegoed.close)
def connect() -> Tegoed:
    """One client for all visitors."""
    return Tegoed(os.environ["TEGOED_API_KEY"], base_url=os.environ["TEGOED_URL"])


def write(name: str, about: str) -> str:
    """A stand-in for an AI that writes letters."""
    return f"Dear {name},\n\nI am writing to you about {about}. (A stand-in for an AI wrote this.)\n\nKind regards"


def letters(client: Tegoed, account: str) -> None:
    """Write a letter for a credit, or sell five."""
    st.metric("Letters left", client.balance(account=account).spendable)
    with st.form("letter"):
        name = st.text_input("To whom?")
        about = st.text_area("About what?")
        is_sent = st.form_submit_button("Write it (1 letter)")
    if is_sent:
        try:
            spent = client.spend(feature=FEATURE, account=account, description=f"To {name}"[:60])
        except InsufficientCredits:
            st.warning("There are no letters left. Five cost a euro.")
        else:
            st.text_area("Your letter", write(name, about), height=200)
            st.caption(f"{spent.balance_after} left.")
    if st.button("Buy 5 letters for € 1"):
        st.session_state.checkout = client.checkout(PACK, ui="qr", account=account, idempotency_key=uuid.uuid4().hex).id
    if "checkout" in st.session_state:
        payment(client, account)


@st.fragment(run_every=POLL_S)
def payment(client: Tegoed, account: str) -> None:
    """The QR code until it is paid; looked at every two seconds."""
    checkout = client.get_checkout(st.session_state.checkout, account=account)
    match checkout.status:
        case "open":
            st.write("Pay with your phone:")
            if checkout.qr_svg_url:
                st.image(checkout.qr_svg_url, width=220)
            st.link_button("Or pay here", checkout.url or "")
        case "processing":
            st.info("Your bank has yet to confirm the payment.")
        case "completed":
            del st.session_state.checkout
            st.success(f"Paid: {checkout.credits} letters.")
            st.rerun()
        case _:
            del st.session_state.checkout
            st.error("That was not paid. Nothing was charged.")


def main() -> None:
    st.title("Letters")
    email = st.text_input("Your e-mail address").strip().lower()
    if "@" not in email:
        st.info("Your e-mail address is where your letters are kept.")
        return
    letters(connect(), f"ext:{email}")


main()
