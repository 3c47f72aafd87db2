// What the buttons inside our own HTML ask for: cards, steps, settings; a lightbox; the slider between two pictures.
"use strict";

// A wish on its way to the server: it takes the place of a hidden field's value.
let dreamartistWished = "";

function dreamartistWish() {
    const wish = dreamartistWished;
    dreamartistWished = "";
    return wish;
}

function dreamartistSend(button, wish) {
    dreamartistWished = JSON.stringify(wish);
    dreamartistFind(button)?.click();
}

function dreamartistConceptWish(button) {
    const field = button.closest(".dreamartist-form")?.querySelector("input, select");
    const cards = dreamartistFind("#dreamartist_concepts .dreamartist-cards");
    const chosen = [...dreamartistPage().querySelectorAll(".dreamartist-select:checked")].map((box) => box.value);
    dreamartistSend("#dreamartist_do", {
        do: button.dataset.dreamartistDo,
        key: button.dataset.key === "*" ? chosen.join(" ") : button.dataset.key,
        value: button.dataset.value || (field ? field.value : ""),
        page: cards ? Number(cards.dataset.page) : 0,
    });
    dreamartistAnnounce("Working ...");
    button.setAttribute("aria-busy", "true");
    button.style.opacity = 0.5;
}

function dreamartistShownPage() {
    const cards = dreamartistFind("#dreamartist_concepts .dreamartist-cards");
    return JSON.stringify({page: cards ? Number(cards.dataset.page) : 0});
}

// From a card to its curve, to training it again, or to Compare.
function dreamartistGo(where, name) {
    if (where === "curve") {
        dreamartistOpenTab("Train");
        dreamartistSend("#dreamartist_show_do", {key: name});
        setTimeout(() => dreamartistFind("#dreamartist_live")?.scrollIntoView({block: "start"}), 300);
    } else if (where === "again") {
        dreamartistOpenTab("Train");
        dreamartistSend("#dreamartist_again_do", {key: name});
        setTimeout(() => dreamartistFind("#dreamartist_picture")?.scrollIntoView({block: "start"}), 300);
    } else {
        dreamartistToCompare(name);
    }
}

function dreamartistToCompare(name = dreamartistShownName()) {
    dreamartistOpenTab("Compare");
    dreamartistWhenThere("#dreamartist_compare_do", () => setTimeout(
        () => dreamartistSend("#dreamartist_compare_do", {key: name}), 300)); // after the tab's own choice
    return [];
}

document.addEventListener("click", (event) => {
    const target = event.composedPath()[0];
    const names = "[data-dreamartist-do], [data-dreamartist-word], [data-dreamartist-train], [data-dreamartist-set], [data-dreamartist-go], [data-dreamartist-large]";
    const button = target instanceof Element ? target.closest(names) : null;
    const data = button ? button.dataset : {};
    if (data.dreamartistDo) {
        dreamartistConceptWish(button);
    } else if (data.dreamartistWord) {
        dreamartistUseWord(data.dreamartistWord);
    } else if (data.dreamartistTrain) {
        button.setAttribute("aria-busy", "true");
        button.style.opacity = 0.5;
        dreamartistSend("#dreamartist_train_do", {do: data.dreamartistTrain, key: data.key});
    } else if (data.dreamartistSet !== undefined) {
        dreamartistSend("#dreamartist_set", {key: data.dreamartistSet, value: data.value || ""});
    } else if (data.dreamartistGo) {
        dreamartistGo(data.dreamartistGo, data.name);
    } else if (data.dreamartistLarge !== undefined) {
        dreamartistEnlarge(button);
    }
    for (const menu of dreamartistPage().querySelectorAll(".dreamartist-menu[open]")) {
        if (button || (event.isTrusted && !menu.contains(target))) { // not by the page's own asking for news
            dreamartistCloseMenu(menu);
        }
    }
});

// The menu that is to be open, and what is typed in it: they are kept when new cards come.
let dreamartistMenu = null; // {key, typed}

function dreamartistMenuKey(menu) {
    return menu.querySelector("[data-key]").dataset.key;
}

function dreamartistCloseMenu(menu) {
    if (dreamartistMenu?.key === dreamartistMenuKey(menu)) {
        dreamartistMenu = null;
    }
    menu.open = false;
}

function dreamartistKeepMenu() {
    const menus = dreamartistMenu ? [...dreamartistPage().querySelectorAll(".dreamartist-menu")] : [];
    const menu = menus.find((each) => dreamartistMenuKey(each) === dreamartistMenu.key);
    if (!menu || menu.open) {
        return;
    }
    const input = menu.querySelector("input");
    menu.open = true;
    input.value = dreamartistMenu.typed ?? input.value;
    if (document.activeElement === document.body) {
        input.focus();
    }
}

new MutationObserver(dreamartistKeepMenu).observe(document, {subtree: true, childList: true});

document.addEventListener("click", (event) => {
    if (dreamartistIn(event, ".dreamartist-menu > summary")) {
        const menu = dreamartistIn(event, ".dreamartist-menu");
        dreamartistMenu = menu.open ? null : {key: dreamartistMenuKey(menu), typed: null};
    }
}, true);

document.addEventListener("input", (event) => {
    if (dreamartistMenu && dreamartistIn(event, ".dreamartist-menu")) {
        dreamartistMenu.typed = event.composedPath()[0].value;
    }
});

document.addEventListener("keydown", (event) => {
    const target = event.composedPath()[0];
    const form = target instanceof Element ? target.closest(".dreamartist-form") : null;
    if (form && event.key === "Enter" && target.tagName === "INPUT") {
        form.querySelector("[data-dreamartist-do]").click();
    }
    if (event.key === "Escape") {
        dreamartistPage().querySelectorAll(".dreamartist-menu[open]").forEach(dreamartistCloseMenu);
    }
});

document.addEventListener("input", (event) => {
    const target = event.composedPath()[0];
    if (!(target instanceof Element)) {
        return;
    }
    const slider = target.closest(".dreamartist-slider");
    if (slider) {
        if (target.type === "range") {
            slider.style.setProperty("--at", `${target.value}%`);
        }
    }
    if (slider && target.tagName === "SELECT") {
        const grid = slider.closest("[data-status]")?.querySelector(".dreamartist-compared");
        const pool = (slider.querySelector("template.pool")?.content || grid).querySelectorAll("img");
        const shown = slider.querySelectorAll(":scope > div img"), sides = [...slider.querySelectorAll("select")];
        const picture = shown[sides.indexOf(target)], chosen = pool[Number(target.value)];
        [picture.src, picture.alt] = [chosen.src, chosen.alt];
        return;
    }
    if (target.matches(".dreamartist-select")) {
        const chosen = dreamartistPage().querySelectorAll(".dreamartist-select:checked").length;
        const bar = dreamartistFind(".dreamartist-selected");
        bar.hidden = !chosen;
        bar.querySelector("span").textContent = `${chosen} selected`;
    }
});

// A picture of the grid at its own size, with its neighbours by the arrow keys, and a link that saves it.
function dreamartistEnlarge(button) {
    const all = [...button.closest(".dreamartist-compared").querySelectorAll("[data-dreamartist-large]")];
    let at = all.indexOf(button);
    const box = document.createElement("dialog");
    box.className = "dreamartist-large";
    box.innerHTML = '<img><p></p><div><button type="button" class="dreamartist-do" data-by="-1">Previous</button>'
        + '<a class="dreamartist-do">Save</a><button type="button" class="dreamartist-do" data-by="1">Next</button>'
        + '<button type="button" class="dreamartist-do" data-by="0">Close</button></div>';
    const show = () => {
        const picture = all[at].querySelector("img"), large = box.querySelector("img"), link = box.querySelector("a");
        large.src = link.href = picture.src;
        large.alt = box.querySelector("p").textContent = picture.alt;
        link.download = `${picture.alt.replace(/[^\w -]+/g, "").slice(0, 60)}.png`;
    };
    const go = (by) => { at = (at + by + all.length) % all.length; show(); };
    box.addEventListener("click", (event) => {
        const by = event.target.dataset.by;
        if (by === "0" || event.target === box) {
            box.close();
        } else if (by) {
            go(Number(by));
        }
    });
    box.addEventListener("keydown", (event) => {
        const by = {ArrowLeft: -1, ArrowRight: 1}[event.key];
        if (by) {
            go(by);
        }
        event.stopPropagation(); // Escape is the WebUI's for Interrupt
    });
    box.addEventListener("close", () => { box.remove(); button.focus(); });
    (dreamartistFind("#dreamartist_tabs") || document.body).append(box);
    show();
    box.showModal();
}
